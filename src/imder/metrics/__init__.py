"""The field's metrics, one row of a table each, under conventions that have names.

Papers print "ACC2" for different things; a *convention* is the name of one fixed set of definitions. With labels y,
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

A metric is one function of predictions, labels and `SampleWeights`, so the bootstrap evaluates its resamples with the same
functions. To add one, append a `Metric` to `METRICS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imder.metrics import functions
from imder.metrics.functions import MetricFunction, Values
from imder.metrics.weights import Array, SampleWeights
from imder.types import ImderError, Task

CONVENTIONS = ("mosi", "sims", "classification")
"""Names of the conventions."""

Role = Literal["table", "paper", "comparison", "main"]


@dataclass(frozen=True)
class MetricInfo:
    """How a metric is called and read.

    Attributes:
        name: in rows, files and options.
        label: in tables and plots.
        higher_is_better: None where neither direction is better by itself.
        share: whether it is a share, shown in percent.
    """

    name: str
    label: str
    higher_is_better: bool | None
    share: bool


@dataclass(frozen=True)
class Metric(MetricInfo):
    """A metric of predictions.

    Attributes:
        function: see `imder.metrics.functions.MetricFunction`.
        conventions: those that have it. A name may have one row for each convention; its label and direction are the same.
        roles: ``table``: shown unless others are asked for; ``paper``: part of the papers' layout; ``comparison``: systems
            are compared by it (`imder.benchmarking.significance`); ``main``: the first to look at, in pictures and where one
            number must do.
    """

    function: MetricFunction
    conventions: tuple[str, ...]
    roles: tuple[Role, ...] = ()


_ALL: tuple[Role, ...] = ("table", "paper", "comparison")
_CLASSES = ("classification",)

METRICS: list[Metric] = [
    Metric("acc2", "ACC2", True, True, functions.mosi_acc2, ("mosi",), _ALL),
    Metric("f1", "F1", True, True, functions.mosi_f1, ("mosi",), ("table", "paper")),
    Metric("acc2_has0", "ACC2 (0+)", True, True, functions.acc2_has0, ("mosi",)),
    Metric("f1_has0", "F1 (0+)", True, True, functions.f1_has0, ("mosi",)),
    Metric("acc7", "ACC7", True, True, functions.rounded(3), ("mosi",), ("table", "paper")),
    Metric("acc5", "ACC5", True, True, functions.rounded(2), ("mosi",)),
    Metric("acc2", "ACC2", True, True, functions.binned(0.0), ("sims",), _ALL),
    Metric("f1", "F1", True, True, functions.sims_f1, ("sims",), ("table", "paper")),
    Metric("acc3", "ACC3", True, True, functions.binned(-0.1, 0.1), ("sims",)),
    Metric("acc5", "ACC5", True, True, functions.binned(-0.7, -0.1, 0.1, 0.7), ("sims",), ("table", "paper")),
    Metric("mae", "MAE", False, False, functions.mae, ("mosi", "sims"), ("table", "comparison", "main")),
    Metric("corr", "Corr", True, False, functions.correlation, ("mosi", "sims"), ("table", "comparison")),
    Metric("accuracy", "Accuracy", True, True, functions.accuracy, _CLASSES, (*_ALL, "main")),
    Metric("balanced_accuracy", "Balanced acc.", True, True, functions.balanced_accuracy, _CLASSES),
    Metric("weighted_f1", "Weighted F1", True, True, functions.class_weighted_f1, _CLASSES),
    Metric("macro_f1", "Macro F1", True, True, functions.macro_f1, _CLASSES, _ALL),
    Metric("nll", "NLL", False, False, functions.nll, _CLASSES, (*_ALL, "main")),
    Metric("ece", "ECE", False, False, functions.ece, _CLASSES),
]
"""Every metric of predictions; `Metric` says what a row holds. Within a convention the order is that of results."""


def metrics_of(convention: str) -> tuple[Metric, ...]:
    """The metrics of a convention, in the order of `METRICS`.

    Raises:
        ImderError: there is no such convention.
    """
    if convention not in CONVENTIONS:
        raise ImderError(f"unknown metric convention {convention!r}; use one of {', '.join(CONVENTIONS)}")
    return tuple(metric for metric in METRICS if convention in metric.conventions)


def names_of(convention: str, role: Role | None = None) -> tuple[str, ...]:
    """The names of a convention's metrics, of those alone that have a role.

    >>> names_of("sims")
    ('acc2', 'f1', 'acc3', 'acc5', 'mae', 'corr')
    >>> names_of("sims", "comparison")
    ('acc2', 'mae', 'corr')
    """
    return tuple(metric.name for metric in metrics_of(convention) if role is None or role in metric.roles)


def evaluate(
    convention: str, prediction: ArrayLike, labels: ArrayLike, names: Sequence[str] | None = None
) -> dict[str, float]:
    """The metrics of a convention.

    Args:
        convention: one of `CONVENTIONS`.
        prediction: ``(N,)`` values for ``mosi`` and ``sims``; ``(N, C)`` probabilities for ``classification``.
        labels: ``(N,)`` values, or class indices in [0, C).
        names: which metrics; None for all.

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
    metrics = [metric for metric in metrics_of(convention) if names is None or metric.name in names]
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
    if convention == "classification":
        _check_probabilities(p, y)
    columns, truth = _prepared(convention, p[None], y)
    rows = SampleWeights(np.ones((1, len(y)), dtype=bool))
    return {metric.name: float(metric.function(columns, truth, rows)[0]) for metric in metrics}


def evaluate_resamples(
    convention: str, prediction: NDArray[Any], labels: NDArray[Any], resamples: Array, names: Sequence[str]
) -> dict[str, Array]:
    """Metrics of several columns of predictions in every resample.

    Args:
        convention: one of `CONVENTIONS`.
        prediction: ``(J, N)`` values, or ``(J, N, C)`` probabilities; nan where a sample isn't served.
        labels: ``(N,)``.
        resamples: ``(B, N)``, how often each resample holds each sample.
        names: which metrics.

    Returns:
        For each metric ``(B, J)``; nan where it is undefined.

    Raises:
        ImderError: an unknown convention.
    """
    metrics = [metric for metric in metrics_of(convention) if metric.name in names]
    served = ~np.isnan(prediction).reshape(*prediction.shape[:2], -1).any(-1)
    columns, truth = _prepared(convention, prediction, labels)
    rows = SampleWeights(served, resamples)
    return {metric.name: metric.function(columns, truth, rows) for metric in metrics}


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


def _prepared(convention: str, p: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Predictions and labels as a convention's functions take them."""
    if convention == "classification":
        return p.astype(np.float64), y.astype(np.int64)
    return (np.clip(p, -1, 1), np.clip(y, -1, 1)) if convention == "sims" else (p, y)


def _floats(values: ArrayLike) -> Values:
    """As a floating array of its own precision; integers and booleans become float64."""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return array
    if array.dtype.kind in "iub":
        return array.astype(np.float64)
    raise ImderError(f"predictions and labels must be numbers, got {array.dtype}")


def _check_probabilities(p: Values, y: Values) -> None:
    classes = p.shape[1]
    bad = np.flatnonzero((y != np.round(y)) | (y < 0) | (y >= classes))
    if len(bad):
        raise ImderError(f"label of row {int(bad[0])} is {y[bad[0]]:g}, not a class index below {classes}")
    bad = np.flatnonzero((p < 0).any(axis=1) | (np.abs(p.sum(axis=1, dtype=np.float64) - 1) > 1e-2))
    if len(bad):
        raise ImderError(f"prediction of row {int(bad[0])} isn't a probability for each class (>= 0, summing to 1)")
