"""Values handed over in memory: arrays, tensors, columns of data frames, and lists."""

from __future__ import annotations

from typing import Any

import numpy as np

_ONLY_TORCH = ("torch.bfloat16", "torch.float8_e4m3fn", "torch.float8_e5m2")
"""Types of tensors that numpy lacks."""


def plain(value: Any) -> Any:
    """A tensor as an array, on the CPU; None for a missing value of pandas; anything else as it is.

    Masked values are NaN, and sparse tensors dense.

    >>> plain(np.ma.masked_equal([[1, 2], [3, 2]], 2)).tolist()
    [[1.0, nan], [3.0, nan]]
    """
    if isinstance(value, np.ma.MaskedArray):
        is_number = value.dtype.kind in "fiub"
        kind = value.dtype if value.dtype.kind == "f" else np.float32
        return np.ma.filled(value.astype(kind), np.nan) if is_number and np.ma.is_masked(value) else value.data
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        try:
            tensor = value.detach().cpu().resolve_conj()
            tensor = tensor if str(tensor.layout) == "torch.strided" else tensor.to_dense()
            return (tensor.float() if str(tensor.dtype) in _ONLY_TORCH else tensor).numpy()
        except (RuntimeError, TypeError):  # nested, quantized, without values: refused like any other object
            return value
    if isinstance(value, np.ndarray):
        return np.asarray(value)  # a matrix has two axes whatever is done to it
    return value.to_numpy() if hasattr(value, "to_numpy") else value


def has_rows(value: Any) -> bool:
    """Whether a value is a list, a tuple or an array with rows."""
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def holds_strings(value: Any) -> bool:
    """Whether some of the rows are strings."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "US" or (value.dtype == object and holds_strings(value.tolist()))
    return isinstance(value, list | tuple) and any(isinstance(x, str | bytes) for x in value)
