r"""The bootstrap of a metric over clusters of samples, all resamples at once.

Samples of one dialogue (or speaker) are alike, so whole clusters are drawn with replacement. A resample b gives sample i
the weight w_bi, the number of times its cluster was drawn, and every metric here is a function of weighted sums, so that B
resamples of J columns (settings, draws, seeds) cost a few products of W (B, N) with matrices (N, J):

    share or mean   sum_i w x / sum_i w
    correlation     (S_py - S_p S_y / S_1) / sqrt((S_pp - S_p^2 / S_1) (S_yy - S_y^2 / S_1)),  S_ab = sum_i w a b
    macro F1        the mean of 2 TP_c / (predicted_c + true_c) over classes that occur, each a weighted count

Two systems are compared on the same resamples: the difference is paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.types import ImderError

Array = NDArray[np.float64]

MAIN_METRICS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "mosi": ("acc2", "mae", "corr"),
        "sims": ("acc2", "mae", "corr"),
        "classification": ("accuracy", "macro_f1", "nll"),
    }
)
"""Metrics that can be resampled, by convention; as in `imder.metrics`."""


def cluster_weights(clusters: Sequence[str], resamples: int, seed: int) -> Array:
    """How often each sample is there in each resample, ``(B, N)``: row 0 is the sample itself, each once.

    Args:
        clusters: ``(N,)`` names; samples of one name go together.
        resamples: B - 1.
        seed: of the draws.

    >>> cluster_weights(["a", "a", "b"], 2, seed=0).shape
    (3, 3)
    """
    _, number = np.unique(np.array(clusters), return_inverse=True)
    count = int(number.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    return np.concatenate([np.ones((1, len(number))), drawn[:, number].astype(np.float64)])


def resampled(convention: str, prediction: NDArray[Any], labels: NDArray[Any], weights: Array) -> dict[str, Array]:
    """The main metrics of every column in every resample.

    Args:
        convention: a key of `MAIN_METRICS`.
        prediction: ``(J, N)`` values, or ``(J, N, C)`` probabilities; nan where a sample isn't served.
        labels: ``(N,)``.
        weights: ``(B, N)``.

    Returns:
        For each metric ``(B, J)``; nan where it is undefined.

    Raises:
        ImderError: an unknown convention.
    """
    if convention not in MAIN_METRICS:
        raise ImderError(f"unknown metric convention {convention!r}; use one of {', '.join(MAIN_METRICS)}")
    if convention == "classification":
        return _classification(prediction.astype(np.float64), labels.astype(np.int64), weights)
    # Classes are decided in the labels' own precision, as the metrics do; sums are then made in double precision.
    p, y = prediction.T, labels
    served = ~np.isnan(p)
    if convention == "sims":
        p, y = np.clip(p, -1, 1), np.clip(y, -1, 1)
        judged = served
    else:
        judged = served & (y != 0)[:, None]
    right = ((p > 0) == (y > 0)[:, None]) & judged
    p64, y64 = np.where(served, p, 0).astype(np.float64), y.astype(np.float64)
    error = np.abs(p64 - y64[:, None]) * served
    return {
        "acc2": _ratio(weights @ right, weights @ judged),
        "mae": _ratio(weights @ error, weights @ served),
        "corr": _correlation(p64, y64, served, weights),
    }


def _classification(p: Array, y: NDArray[np.int64], weights: Array) -> dict[str, Array]:
    served = ~np.isnan(p).any(-1).T
    chosen = np.where(served, np.nan_to_num(p).argmax(-1).T, -1)
    of_truth = np.where(served, np.nan_to_num(p[:, np.arange(len(y)), y]).T, 1.0)
    loss = -np.log(np.clip(of_truth, np.finfo(np.float64).eps, 1.0)) * served
    total = weights @ served
    scores, occurring = np.zeros_like(total), np.zeros_like(total)
    for c in range(p.shape[-1]):
        true, predicted = (y == c)[:, None] & served, chosen == c
        both = weights @ true + weights @ predicted
        scores += _ratio(2 * (weights @ (true & predicted)), both, empty=0.0)
        occurring += both > 0
    return {
        "accuracy": _ratio(weights @ (chosen == y[:, None]), total),
        "macro_f1": _ratio(scores, occurring),
        "nll": _ratio(weights @ loss, total),
    }


def _correlation(p: Array, y: Array, served: NDArray[np.bool_], weights: Array) -> Array:
    """Pearson's; both sides are centred first, so that differences of sums stay accurate."""
    count = np.maximum(served.sum(0), 1)
    p = np.where(served, p - p.sum(0) / count, 0.0)
    y = np.where(served, y[:, None] - (y[:, None] * served).sum(0) / count, 0.0)
    s1, sp, sy = weights @ served, weights @ p, weights @ y
    with np.errstate(invalid="ignore", divide="ignore"):
        cov = weights @ (p * y) - sp * sy / s1
        vp, vy = weights @ p**2 - sp**2 / s1, weights @ y**2 - sy**2 / s1
        tiny = 1e-12 * np.maximum((p**2).sum(0), np.finfo(np.float64).tiny)
        flat = (vp <= tiny) | (vy <= 1e-12 * np.maximum((y**2).sum(0), np.finfo(np.float64).tiny))
        return np.where(flat, np.nan, np.clip(cov / np.sqrt(vp * vy), -1.0, 1.0))


def _ratio(a: Array, b: Array, empty: float = float("nan")) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(b > 0, a / b, empty)
