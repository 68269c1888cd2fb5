"""Beside how right a system is: whether it knows how sure it can be.

From a calibrated system (`imder.calibration`), for each cell of a protocol, at the level of 90 %:

* regression: ``coverage``, the share of labels within their intervals, which should be the level; ``width`` of the
  intervals on average; ``crps`` of the predictive distributions; ``selective_mae`` of the most certain 80 % of the rows,
  those whose predictive distribution has the smallest standard deviation;
* classification: ``coverage`` of the prediction sets and ``set_size``, how many classes they hold; ``nll_calibrated`` and
  ``ece_calibrated`` of the calibrated probabilities; ``selective_error``, the share of mistakes among the 80 % of the rows
  whose most probable class is the most probable.

Rows that are equally sure count alike: where the 80 % end among them, each of them takes the share that is left. (A system
that samples nothing is as sure of one row as of another; the order of the file must not choose between them.)

What is known of a row hangs on the row and its subset alone, so it is worked out once for each pair, like the prediction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder import metrics
from imder.calibration.calibration import Calibration
from imder.calibration.describe import check_recoveries, describe_classes, describe_values
from imder.data.corpus import Split
from imder.evaluation.predicting import Predict, Rows, Values, mean_of
from imder.types import Task

CERTAIN = 0.8
"""The share of the rows that ``selective_...`` keeps."""

VALUE_METRICS = ("coverage", "width", "crps", "selective_mae")
CLASS_METRICS = ("coverage", "set_size", "nll_calibrated", "ece_calibrated", "selective_error")

LOWER_IS_BETTER = frozenset({"crps", "selective_mae", "nll_calibrated", "ece_calibrated", "selective_error"})
"""Coverage, width and the size of sets are good or bad only together."""


def names_of(task: Task) -> tuple[str, ...]:
    """The metrics of a task."""
    return CLASS_METRICS if task == "classification" else VALUE_METRICS


def with_uncertainty(predict: Predict, task: Task, labels: NDArray[Any], calibration: Calibration | None) -> Predict:
    """A predictor whose rows are records: ``prediction`` and, with a calibration, how sure it is.

    Args:
        predict: gives spreads.
        task: of the corpus.
        labels: ``(N,)`` of the split that is predicted.
        calibration: of the system that predicts, or None.

    Returns:
        What gives records ``(M,)``: ``prediction`` (as `mean_of` has it); for regression ``low``, ``high``,
        ``deviation`` and ``crps``; for classification ``calibrated`` (C) and ``members`` (C).
    """

    def known(split: Split, rows: Rows, available: NDArray[np.bool_]) -> Values:
        spread = predict(split, rows, available)
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

    return known


def certainty(records: NDArray[Any], labels: NDArray[Any], task: Task) -> dict[str, float]:
    """The metrics of `names_of` on some rows of `with_uncertainty`; nothing where there was no calibration.

    >>> fields = [("prediction", float), ("low", float), ("high", float), ("deviation", float), ("crps", float)]
    >>> found = np.array([(0.0, -1.0, 1.0, 0.5, 0.2), (1.0, 0.0, 4.0, 2.0, 0.9)], fields)
    >>> certainty(found, np.array([0.5, 5.0]), "regression")["coverage"]
    0.5
    """
    names = records.dtype.names or ()
    if task == "regression":
        if "low" not in names:
            return {}
        share = _most_certain(-records["deviation"])
        within = (records["low"] <= labels) & (labels <= records["high"])
        errors = np.abs(records["prediction"].astype(np.float64) - labels)
        values = (
            within.mean(),
            (records["high"] - records["low"]).mean(),
            records["crps"].mean(),
            np.average(errors, weights=share),
        )
        return {name: float(value) for name, value in zip(VALUE_METRICS, values, strict=True)}
    if "members" not in names:
        return {}
    rows, members, calibrated = np.arange(len(labels)), records["members"], records["calibrated"]
    proper = metrics.evaluate("classification", calibrated, labels)
    wrong = calibrated.argmax(axis=1) != labels
    found = (
        members[rows, labels].mean(),
        members.sum(axis=1).mean(),
        proper["nll"],
        proper["ece"],
        np.average(wrong, weights=_most_certain(calibrated.max(axis=1))),
    )
    return {name: float(value) for name, value in zip(CLASS_METRICS, found, strict=True)}


def _most_certain(certainty: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of each row is among the `CERTAIN` share of the rows, by what is larger where a row is surer.

    Differences that rounding makes are none.

    >>> _most_certain(np.array([3.0, 1.0, 2.0, 1.0, 1.0])).round(3).tolist()
    [1.0, 0.667, 1.0, 0.667, 0.667]
    """
    wanted = max(1.0, CERTAIN * len(certainty))
    steps = np.round(-certainty, 9)
    _, place, count = np.unique(steps, return_inverse=True, return_counts=True)
    before = np.cumsum(count) - count
    return np.asarray(np.clip((wanted - before) / count, 0.0, 1.0)[place])
