"""The field's metrics, each convention under its own name.

Papers print "ACC2" for different things; here a convention is a name for a fixed set of them. With labels y and
predictions p, N rows and [.] an indicator:

* ``mosi`` (y in [-3, 3]): ``acc2``, ``f1``: p > 0 against y > 0, on the rows with y != 0; ``acc2_has0``, ``f1_has0``:
  p >= 0 against y >= 0, on all rows; ``acc7``, ``acc5``: round(clip(p)) = round(clip(y)), clipped to +-3 and +-2,
  halves rounded to even (.5 is 0, 1.5 is 2);
* ``sims`` (y in [-1, 1]; both clipped to that): ``acc2``, ``f1``: classes [-1, 0], (0, 1]; ``acc3``: edges -.1, .1;
  ``acc5``: edges -.7, -.1, .1, .7; a value on an edge belongs to the class below it;
* both: ``mae`` = mean |p - y|; ``corr``, Pearson's correlation; nan where either side is constant;
* ``classification`` (p: probabilities, the predicted class the most probable, the first of equals): ``accuracy``;
  ``balanced_accuracy``, mean recall over the classes that occur in y; ``weighted_f1``, ``macro_f1``; ``nll`` = mean
  -ln p_y; ``ece``, expected calibration error sum_b (n_b / N) |accuracy_b - confidence_b| over 15 equal-width bins
  (a, b] of the top probability.

F1 of a class is 2 TP / (2 TP + FP + FN). The weighted mean weighs classes by how often they are *true*,
sum_c n_c F1_c / N (a known mistake of the field swaps the arguments and weighs by predictions); the macro mean is the
plain one over the classes that occur in labels or predictions. Both are scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imder.types import ImderError, Task

CONVENTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "mosi": ("acc2", "f1", "acc2_has0", "f1_has0", "acc7", "acc5", "mae", "corr"),
        "sims": ("acc2", "f1", "acc3", "acc5", "mae", "corr"),
        "classification": ("accuracy", "balanced_accuracy", "weighted_f1", "macro_f1", "nll", "ece"),
    }
)
"""Metric names of each convention, in the order of `evaluate`'s result."""

HIGHER_IS_BETTER: Mapping[str, bool] = MappingProxyType(
    {name: name not in ("mae", "nll", "ece") for names in CONVENTIONS.values() for name in names}
)
"""For each metric name, whether a larger value is better."""

ECE_BINS = 15
"""Bins of the expected calibration error."""

Values = NDArray[np.floating[Any]]
Classes = NDArray[np.int64]


def evaluate(convention: str, prediction: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """All metrics of a convention.

    Args:
        convention: a key of `CONVENTIONS`.
        prediction: ``(N,)`` values for ``mosi`` and ``sims``; ``(N, C)`` probabilities for ``classification``.
        labels: ``(N,)`` values, or class indices in [0, C).

    Returns:
        The convention's metrics by name, in its order; shares in [0, 1]. A metric that is undefined on these rows
        (correlation with a constant; ``acc2`` of ``mosi`` where every label is 0) is nan.

    Raises:
        ImderError: an unknown convention; nothing to evaluate; shapes that don't match; labels that are nan, infinite,
            or not class indices in range; predictions that are nan or infinite, or rows that aren't probabilities (each
            >= 0, summing to 1 within .01).

    >>> result = evaluate("mosi", [1.2, -0.4, 0.1, 3.6], [1.0, -1.0, 0.0, 3.0])
    >>> result["acc2"], result["acc7"], round(result["mae"], 3)
    (1.0, 0.75, 0.375)
    >>> evaluate("classification", [[0.9, 0.1], [0.3, 0.7]], [0, 0])["accuracy"]
    0.5
    """
    if convention not in CONVENTIONS:
        raise ImderError(f"unknown metric convention {convention!r}; use one of {', '.join(CONVENTIONS)}")
    p, y = _floats(prediction), _floats(labels)
    if y.ndim != 1:
        raise ImderError(f"labels must be (N,), got shape {y.shape}")
    if len(y) == 0:
        raise ImderError("nothing to evaluate: there are no labels")
    expected, dims = ("(N, C)", 2) if convention == "classification" else ("(N,)", 1)
    if p.ndim != dims or len(p) != len(y) or p.shape[-1] == 0:
        raise ImderError(f"{convention} predictions must be {expected} with N = {len(y)} labels, got shape {p.shape}")
    for what, values in (("label", y), ("prediction", p)):
        bad = np.flatnonzero(~np.isfinite(values).reshape(len(y), -1).all(axis=1))
        if len(bad):
            raise ImderError(f"{what} of row {int(bad[0])} isn't finite ({len(bad)} such rows of {len(y)})")
    return _EVALUATE[convention](p, y)


def default_convention(task: Task, labels: ArrayLike) -> str:
    """The convention that fits a corpus: by task and, for regression, by the range of the labels.

    Args:
        task: ``Spec.task``.
        labels: ``(N,)`` labels, best of the training split; nan where unlabelled.

    Returns:
        ``"classification"``; or ``"sims"`` where there are labels and all lie within [-1, 1]; or ``"mosi"``.

    >>> default_convention("regression", [-0.8, 0.0, 1.0]), default_convention("regression", [-2.4, 1.0])
    ('sims', 'mosi')
    """
    if task == "classification":
        return "classification"
    y = _floats(labels)
    y = y[~np.isnan(y)]
    return "sims" if y.size and bool((np.abs(y) <= 1).all()) else "mosi"


# ---- the conventions


def _mosi(p: Values, y: Values) -> dict[str, float]:
    nonzero = y != 0
    positive, truly_positive = _classes(p[nonzero] > 0), _classes(y[nonzero] > 0)
    has0, truly_has0 = _classes(p >= 0), _classes(y >= 0)
    return {
        "acc2": _accuracy(positive, truly_positive),
        "f1": _weighted_f1(positive, truly_positive),
        "acc2_has0": _accuracy(has0, truly_has0),
        "f1_has0": _weighted_f1(has0, truly_has0),
        "acc7": _accuracy(_rounded(p, 3), _rounded(y, 3)),
        "acc5": _accuracy(_rounded(p, 2), _rounded(y, 2)),
        "mae": _mae(p, y),
        "corr": _correlation(p, y),
    }


def _sims(p: Values, y: Values) -> dict[str, float]:
    p, y = np.clip(p, -1, 1), np.clip(y, -1, 1)
    two, three, five = (0.0,), (-0.1, 0.1), (-0.7, -0.1, 0.1, 0.7)
    return {
        "acc2": _accuracy(_binned(p, two), _binned(y, two)),
        "f1": _weighted_f1(_binned(p, two), _binned(y, two)),
        "acc3": _accuracy(_binned(p, three), _binned(y, three)),
        "acc5": _accuracy(_binned(p, five), _binned(y, five)),
        "mae": _mae(p, y),
        "corr": _correlation(p, y),
    }


def _classification(p: Values, y: Values) -> dict[str, float]:
    truth = _check_probabilities(p, y)
    p = p.astype(np.float64)
    chosen = _classes(p.argmax(axis=1))
    top = p.max(axis=1)
    chosen_true = np.clip(p[np.arange(len(p)), truth], np.finfo(np.float64).eps, 1.0)
    return {
        "accuracy": _accuracy(chosen, truth),
        "balanced_accuracy": _balanced_accuracy(chosen, truth),
        "weighted_f1": _weighted_f1(chosen, truth),
        "macro_f1": _macro_f1(chosen, truth),
        "nll": float(-np.log(chosen_true).mean()),
        "ece": _calibration_error(top, chosen == truth),
    }


_EVALUATE: Mapping[str, Callable[[Values, Values], dict[str, float]]] = {
    "mosi": _mosi,
    "sims": _sims,
    "classification": _classification,
}


# ---- their parts: predictions first, truth second


def _accuracy(p: Classes, y: Classes) -> float:
    return float((p == y).mean()) if len(y) else float("nan")


def _balanced_accuracy(p: Classes, y: Classes) -> float:
    """Mean recall over the classes that occur in the truth."""
    hits = np.bincount(y[p == y], minlength=int(y.max()) + 1)
    support = np.bincount(y)
    return float((hits[support > 0] / support[support > 0]).mean())


def _f1(p: Classes, y: Classes) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """F1, true and predicted counts of each class. 2 TP + FP + FN = predicted + true, so F1 = 2 TP / (both)."""
    size = int(max(p.max(), y.max())) + 1
    hits, predicted, true = (np.bincount(c, minlength=size) for c in (y[p == y], p, y))
    return 2 * hits / np.maximum(predicted + true, 1), true, predicted


def _weighted_f1(p: Classes, y: Classes) -> float:
    if len(y) == 0:
        return float("nan")
    f1, true, _ = _f1(p, y)
    return float((f1 * true).sum() / true.sum())


def _macro_f1(p: Classes, y: Classes) -> float:
    f1, true, predicted = _f1(p, y)
    return float(f1[true + predicted > 0].mean())


def _calibration_error(top: NDArray[np.float64], correct: NDArray[np.bool_]) -> float:
    """Sum over bins of |sum of (correct - confidence)| / N, which is (n_b / N) |accuracy_b - confidence_b|."""
    edges = np.arange(1, ECE_BINS) / ECE_BINS
    gaps = np.bincount(np.searchsorted(edges, top, side="left"), weights=correct - top, minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / len(top))


def _mae(p: Values, y: Values) -> float:
    return float(np.abs(p.astype(np.float64) - y.astype(np.float64)).mean())


def _correlation(p: Values, y: Values) -> float:
    if (p == p[0]).all() or (y == y[0]).all():
        return float("nan")
    a, b = (v.astype(np.float64) - v.mean(dtype=np.float64) for v in (p, y))
    a, b = a / np.abs(a).max(), b / np.abs(b).max()  # tiny deviations must not underflow when squared
    return float(np.clip((a @ b) / np.sqrt((a @ a) * (b @ b)), -1.0, 1.0))


def _classes(values: NDArray[Any]) -> Classes:
    return values.astype(np.int64)


def _rounded(values: Values, bound: int) -> Classes:
    """Round(clip(values, -bound, bound)) as class indices 0 ... 2 bound."""
    return _classes(np.round(np.clip(values, -bound, bound)) + bound)


def _binned(values: Values, edges: tuple[float, ...]) -> Classes:
    """Class of each value; class i ends *at* edges[i]. Edges in the values' own precision: float32 .1 lies on .1."""
    return _classes(np.searchsorted(np.array(edges, dtype=values.dtype), values, side="left"))


# ---- checks


def _floats(values: ArrayLike) -> Values:
    """As a floating array of its own precision; integers and booleans become float64."""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return array
    if array.dtype.kind in "iub":
        return array.astype(np.float64)
    raise ImderError(f"predictions and labels must be numbers, got {array.dtype}")


def _check_probabilities(p: Values, y: Values) -> Classes:
    classes = p.shape[1]
    bad = np.flatnonzero((y != np.round(y)) | (y < 0) | (y >= classes))
    if len(bad):
        raise ImderError(f"label of row {int(bad[0])} is {y[bad[0]]:g}, not a class index below {classes}")
    bad = np.flatnonzero((p < 0).any(axis=1) | (np.abs(p.sum(axis=1, dtype=np.float64) - 1) > 1e-2))
    if len(bad):
        raise ImderError(f"prediction of row {int(bad[0])} isn't a probability for each class (>= 0, summing to 1)")
    return _classes(y)
