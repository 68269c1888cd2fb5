"""Metrics of a calibrated system's uncertainty (`imder.calibration`), for intervals and sets of 90 %.

* Regression: ``coverage``, the share of labels within their intervals, which should be the level; ``width``, the mean width
  of the intervals; ``crps`` of the predictive distributions; ``selective_mae``, the mean absolute error on the most certain
  80 % of the rows, those whose predictive distribution has the smallest standard deviation.
* Classification: ``coverage`` of the prediction sets; ``set_size``, the mean number of classes in them; ``nll_calibrated``
  and ``ece_calibrated`` of the calibrated probabilities; ``selective_error``, the share of mistakes on the most certain
  80 % of the rows, those with the highest top probability.

Rows of equal certainty share the weight that is left at the 80 % cut, so the order of the file does not matter.

The uncertainty of a row depends on the row and its available modalities alone: like the prediction, it is computed once
for each such pair. To add a metric, append an `UncertaintyMetric` to `UNCERTAINTY_METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder import metrics
from imder.calibration.calibration import Calibration
from imder.calibration.describe import check_recoveries, describe_classes, describe_values
from imder.data.corpus import Split
from imder.data.erasure import Erasure
from imder.evaluation.predicting import Predict, RowNumbers, Values, call_predict, mean_of
from imder.metrics import MetricInfo
from imder.types import Task

SELECTED_SHARE = 0.8
"""The share of the rows that ``selective_...`` keeps."""

Records = NDArray[Any]
"""Rows of `with_uncertainty`, ``(M,)``."""


@dataclass(frozen=True)
class UncertaintyMetric(MetricInfo):
    """A metric of predictions with their uncertainty.

    Attributes:
        task: that it is for. A name may have one row for each task; its label and direction are the same.
        function: from `Records` and labels ``(M,)`` to the value.
    """

    task: Task
    function: Callable[[Records, NDArray[Any]], float]


def names_of(task: Task) -> tuple[str, ...]:
    """The names of a task's metrics.

    >>> names_of("regression")
    ('coverage', 'width', 'crps', 'selective_mae')
    """
    return tuple(metric.name for metric in UNCERTAINTY_METRICS if metric.task == task)


def with_uncertainty(predict: Predict, task: Task, labels: NDArray[Any], calibration: Calibration | None) -> Predict:
    """A predictor whose rows are records: ``prediction`` and, with a calibration, its uncertainty.

    Args:
        predict: returns spreads.
        task: of the corpus.
        labels: ``(N,)`` of the predicted split.
        calibration: of the system that predicts, or None.

    Returns:
        A predictor of records ``(M,)``: ``prediction`` (as `mean_of` has it); for regression ``low``, ``high``,
        ``deviation`` and ``crps``; for classification ``calibrated`` (C) and ``members`` (C).
    """

    def predict_records(
        split: Split, rows: RowNumbers, available: NDArray[np.bool_], *, erasure: Erasure | None = None
    ) -> Values:
        spread = call_predict(predict, split, rows, available, erasure)
        mean = mean_of(spread, task)
        columns: dict[str, NDArray[Any]] = {"prediction": mean}
        if calibration is not None:
            check_recoveries(calibration, spread.shape[1])
        if calibration is not None and task == "regression":
            columns |= vars(describe_values(calibration, spread, available, labels=labels[rows]))
        elif calibration is not None:
            sets = describe_classes(calibration, spread, available)
            columns |= {"calibrated": sets.probabilities, "members": sets.members}
        records = np.empty(len(rows), [(name, c.dtype, c.shape[1:]) for name, c in columns.items()])
        for name, column in columns.items():
            records[name] = column
        return records

    return predict_records


def uncertainty(records: Records, labels: NDArray[Any], task: Task) -> dict[str, float]:
    """The metrics of `names_of` on some rows of `with_uncertainty`; empty without a calibration.

    >>> fields = [("prediction", float), ("low", float), ("high", float), ("deviation", float), ("crps", float)]
    >>> records = np.array([(0.0, -1.0, 1.0, 0.5, 0.2), (1.0, 0.0, 4.0, 2.0, 0.9)], fields)
    >>> uncertainty(records, np.array([0.5, 5.0]), "regression")["coverage"]
    0.5
    """
    if not {"low", "members"} & set(records.dtype.names or ()):
        return {}
    return {metric.name: metric.function(records, labels) for metric in UNCERTAINTY_METRICS if metric.task == task}


def _coverage(records: Records, labels: NDArray[Any]) -> float:
    return float(((records["low"] <= labels) & (labels <= records["high"])).mean())


def _width(records: Records, labels: NDArray[Any]) -> float:
    del labels
    return float((records["high"] - records["low"]).mean())


def _crps(records: Records, labels: NDArray[Any]) -> float:
    del labels  # the records hold it, computed with the labels
    return float(records["crps"].mean())


def _selective_mae(records: Records, labels: NDArray[Any]) -> float:
    errors = np.abs(records["prediction"].astype(np.float64) - labels)
    return float(np.average(errors, weights=_most_certain(-records["deviation"])))


def _set_coverage(records: Records, labels: NDArray[Any]) -> float:
    return float(records["members"][np.arange(len(labels)), labels].mean())


def _set_size(records: Records, labels: NDArray[Any]) -> float:
    del labels
    return float(records["members"].sum(axis=1).mean())


def _nll_calibrated(records: Records, labels: NDArray[Any]) -> float:
    return metrics.evaluate("classification", records["calibrated"], labels, ["nll"])["nll"]


def _ece_calibrated(records: Records, labels: NDArray[Any]) -> float:
    return metrics.evaluate("classification", records["calibrated"], labels, ["ece"])["ece"]


def _selective_error(records: Records, labels: NDArray[Any]) -> float:
    wrong = records["calibrated"].argmax(axis=1) != labels
    return float(np.average(wrong, weights=_most_certain(records["calibrated"].max(axis=1))))


def _most_certain(certainty: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights in [0, 1] of the rows: those of the `SELECTED_SHARE` with the largest ``certainty`` have 1.

    Rows that differ by rounding alone are equal, and equal rows share what is left.

    >>> _most_certain(np.array([3.0, 1.0, 2.0, 1.0, 1.0])).round(3).tolist()
    [1.0, 0.667, 1.0, 0.667, 0.667]
    """
    wanted = max(1.0, SELECTED_SHARE * len(certainty))
    _, level, count = np.unique(np.round(-certainty, 9), return_inverse=True, return_counts=True)
    before = np.cumsum(count) - count
    return np.asarray(np.clip((wanted - before) / count, 0.0, 1.0)[level])


UNCERTAINTY_METRICS: list[UncertaintyMetric] = [
    UncertaintyMetric("coverage", "Coverage", None, True, "regression", _coverage),
    UncertaintyMetric("width", "Width", None, False, "regression", _width),
    UncertaintyMetric("crps", "CRPS", False, False, "regression", _crps),
    UncertaintyMetric("selective_mae", "MAE of 80 %", False, False, "regression", _selective_mae),
    UncertaintyMetric("coverage", "Coverage", None, True, "classification", _set_coverage),
    UncertaintyMetric("set_size", "Set size", None, False, "classification", _set_size),
    UncertaintyMetric("nll_calibrated", "NLL (cal.)", False, False, "classification", _nll_calibrated),
    UncertaintyMetric("ece_calibrated", "ECE (cal.)", False, False, "classification", _ece_calibrated),
    UncertaintyMetric("selective_error", "Error of 80 %", False, True, "classification", _selective_error),
]
"""Every metric of uncertainty. Coverage, width and set size are good or bad only together."""
