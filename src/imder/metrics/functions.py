"""The metrics' functions: predictions ``(J, N)`` or ``(J, N, C)``, labels ``(N,)`` and `SampleWeights` to ``(J,)`` or ``(B, J)``.

What each computes is defined in `imder.metrics`. Classes are decided in the predictions' own precision, sums are made in
double precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.metrics.weights import Array, Classes, Mask, SampleWeights, ratio

Values = NDArray[np.floating[Any]]

ECE_BINS = 15
"""Bins of the expected calibration error."""

MetricFunction = Callable[[NDArray[Any], NDArray[Any], SampleWeights], Array]
"""From predictions ``(J, N)`` or ``(J, N, C)``, labels ``(N,)`` and weights to ``(J,)`` or, resampled, ``(B, J)``."""


def mae(p: Values, y: Values, rows: SampleWeights) -> Array:
    """Mean absolute error."""
    return rows.mean(np.abs(p.astype(np.float64) - y.astype(np.float64)))


def correlation(p: Values, y: Values, rows: SampleWeights) -> Array:
    """Pearson's correlation; both sides are centred first, so that differences of sums stay accurate."""
    if rows.resamples is None:
        return np.array([_one_correlation(column[served], y[served]) for column, served in zip(p, rows.served)])
    count = np.maximum(rows.served.sum(-1, keepdims=True), 1)
    p, y = np.where(rows.served, p, 0).astype(np.float64), y.astype(np.float64)
    p = np.where(rows.served, p - p.sum(-1, keepdims=True) / count, 0.0)
    y = np.where(rows.served, y - (y * rows.served).sum(-1, keepdims=True) / count, 0.0)
    n, sum_p, sum_y = rows.total(rows.served), rows.total(p), rows.total(y)
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = rows.total(p * y) - sum_p * sum_y / n
        var_p, var_y = rows.total(p**2) - sum_p**2 / n, rows.total(y**2) - sum_y**2 / n
        smallest = np.finfo(np.float64).tiny
        flat = [v <= 1e-12 * np.maximum((x**2).sum(-1), smallest) for v, x in ((var_p, p), (var_y, y))]
        return np.where(flat[0] | flat[1], np.nan, np.clip(covariance / np.sqrt(var_p * var_y), -1.0, 1.0))


def _one_correlation(p: Values, y: Values) -> float:
    if (p == p[0]).all() or (y == y[0]).all():
        return float("nan")
    a, b = (v.astype(np.float64) - v.mean(dtype=np.float64) for v in (p, y))
    a, b = a / np.abs(a).max(), b / np.abs(b).max()  # tiny deviations must not underflow when squared
    return float(np.clip((a @ b) / np.sqrt((a @ a) * (b @ b)), -1.0, 1.0))


def _signs(p: Values, y: Values) -> tuple[Mask, Mask, Mask]:
    return p > 0, y > 0, y != 0


def mosi_acc2(p: Values, y: Values, rows: SampleWeights) -> Array:
    """Accuracy of p > 0 against y > 0, where y != 0."""
    positive, truly_positive, nonzero = _signs(p, y)
    return rows.mean(positive == truly_positive, nonzero)


def mosi_f1(p: Values, y: Values, rows: SampleWeights) -> Array:
    """Weighted F1 of p > 0 against y > 0, where y != 0."""
    positive, truly_positive, nonzero = _signs(p, y)
    return _weighted_f1(_count(positive, truly_positive, 2, rows, nonzero))


def acc2_has0(p: Values, y: Values, rows: SampleWeights) -> Array:
    """Accuracy of p >= 0 against y >= 0."""
    return rows.mean((p >= 0) == (y >= 0))


def f1_has0(p: Values, y: Values, rows: SampleWeights) -> Array:
    """Weighted F1 of p >= 0 against y >= 0."""
    return _weighted_f1(_count(p >= 0, y >= 0, 2, rows))


def rounded(bound: int) -> MetricFunction:
    """The accuracy of values that are clipped to +-bound and rounded, half to even."""

    def accuracy(p: Values, y: Values, rows: SampleWeights) -> Array:
        return rows.mean(np.round(np.clip(p, -bound, bound)) == np.round(np.clip(y, -bound, bound)))

    return accuracy


def _bins(values: Values, edges: tuple[float, ...]) -> Classes:
    """Class of each value; class i ends *at* edges[i]. Edges in the values' own precision: float32 .1 lies on .1."""
    return np.searchsorted(np.array(edges, dtype=values.dtype), values, side="left")


def binned(*edges: float) -> MetricFunction:
    """The accuracy of the classes between edges; a value on an edge belongs to the class below it."""

    def accuracy(p: Values, y: Values, rows: SampleWeights) -> Array:
        return rows.mean(_bins(p, edges) == _bins(y, edges))

    return accuracy


def sims_f1(p: Values, y: Values, rows: SampleWeights) -> Array:
    """Weighted F1 of the classes [-1, 0] and (0, 1]."""
    return _weighted_f1(_count(_bins(p, (0.0,)), _bins(y, (0.0,)), 2, rows))


def accuracy(p: Array, y: Classes, rows: SampleWeights) -> Array:
    """Share of the samples whose most probable class is the true one."""
    return rows.mean(_chosen(p) == y)


def balanced_accuracy(p: Array, y: Classes, rows: SampleWeights) -> Array:
    """Mean recall over the classes that occur in the labels."""
    hits, _, true = _count(_chosen(p), y, p.shape[-1], rows)
    return ratio(ratio(hits, true, empty=0.0).sum(-1), (true > 0).sum(-1).astype(np.float64))


def class_weighted_f1(p: Array, y: Classes, rows: SampleWeights) -> Array:
    """F1, averaged over classes with the numbers of their true samples as weights."""
    return _weighted_f1(_count(_chosen(p), y, p.shape[-1], rows))


def macro_f1(p: Array, y: Classes, rows: SampleWeights) -> Array:
    """F1, averaged over the classes that occur in labels or predictions."""
    hits, predicted, true = _count(_chosen(p), y, p.shape[-1], rows)
    occurring = (predicted + true > 0).sum(-1).astype(np.float64)
    return ratio(ratio(2 * hits, predicted + true, empty=0.0).sum(-1), occurring)


def nll(p: Array, y: Classes, rows: SampleWeights) -> Array:
    """Mean negative logarithm of the probability of the true class."""
    of_truth = np.nan_to_num(p[:, np.arange(len(y)), y], nan=1.0)
    return rows.mean(-np.log(np.clip(of_truth, np.finfo(np.float64).eps, 1.0)))


def confidence_bins(top: Array) -> Classes:
    """The bin in [0, `ECE_BINS`) of each top probability: `ECE_BINS` of equal width, each without its lower end."""
    return np.asarray(np.searchsorted(np.arange(1, ECE_BINS) / ECE_BINS, top, side="left"))


def ece(p: Array, y: Classes, rows: SampleWeights) -> Array:
    """Expected calibration error: sum over bins of |sum of (correct - confidence)| / N, which is (n_b / N) |accuracy_b - confidence_b|."""
    top = np.nan_to_num(p.max(-1))
    bins = confidence_bins(top)
    gaps = rows.total_by_group((_chosen(p) == y) - top, bins, ECE_BINS)
    return ratio(np.abs(gaps).sum(-1), rows.total(rows.served))


def _chosen(p: Array) -> Classes:
    return np.asarray(np.nan_to_num(p).argmax(-1))


Counts = tuple[Array, Array, Array]
"""Correct, predicted and true samples of each class, along the last axis."""


def _count(
    chosen: NDArray[Any], truth: NDArray[Any], classes: int, rows: SampleWeights, where: Mask | None = None
) -> Counts:
    counted: Any = True if where is None else where
    hits, predicted, true = [], [], []
    for c in range(classes):
        of_class, is_class = (chosen == c) & counted, (truth == c) & counted
        hits.append(rows.total(of_class & is_class))
        predicted.append(rows.total(of_class))
        true.append(rows.total(is_class))
    return np.stack(hits, -1), np.stack(predicted, -1), np.stack(true, -1)


def _weighted_f1(counts: Counts) -> Array:
    hits, predicted, true = counts
    return ratio((ratio(2 * hits, predicted + true, empty=0.0) * true).sum(-1), true.sum(-1))
