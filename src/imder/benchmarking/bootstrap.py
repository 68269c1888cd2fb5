"""Bootstrap resamples of clusters of samples.

Samples of one dialogue (or speaker) are alike, so whole clusters are drawn with replacement. A resample b gives sample i
the weight w_bi, the number of times its cluster was drawn, and `imder.metrics.evaluate_resamples` evaluates all B resamples
of J columns of predictions (settings, draws, seeds) by products of W (B, N) with matrices (N, J).

Two systems are compared on the same resamples: the difference is paired.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def cluster_weights(clusters: Sequence[str], resamples: int, seed: int) -> Array:
    """How often each resample holds each sample, ``(B, N)``; row 0 is the original sample, which holds each once.

    Args:
        clusters: ``(N,)`` names; samples of one name are drawn together.
        resamples: B - 1, the number of resamples.
        seed: of the resampling.

    >>> cluster_weights(["a", "a", "b"], 2, seed=0).shape
    (3, 3)
    """
    _, number = np.unique(np.array(clusters), return_inverse=True)
    count = int(number.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    return np.concatenate([np.ones((1, len(number))), drawn[:, number].astype(np.float64)])


def interval(difference: Array) -> tuple[float, float, float]:
    """The 95 % interval of resampled differences, and the share of resamples in which the difference is defined.

    Args:
        difference: ``(B,)``; the first is that of the sample itself and doesn't count.

    >>> interval(np.array([0.5, 0.0, 1.0, np.nan, 2.0]))
    (0.05, 1.95, 0.75)
    """
    resampled = difference[1:]
    defined = resampled[~np.isnan(resampled)]
    low, high = np.quantile(defined, [0.025, 0.975]).tolist() if len(defined) else (float("nan"), float("nan"))
    return low, high, len(defined) / max(1, len(resampled))
