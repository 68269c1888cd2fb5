"""Complete inputs for models that can't do without: raw features of missing modalities, as draws.

`imder.impute` draws them, `imder.marginalize` averages any model's predictions over draws, and
`imder.MissingModalityImputer` is the same for a scikit-learn pipeline.
"""

from imder.imputation.pooling import pooled, pooled_sizes

__all__ = ["pooled", "pooled_sizes"]
