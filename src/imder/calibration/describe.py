"""What a calibration says of predictions: intervals and scores of numbers, sets and probabilities of classes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.calibration.calibration import Calibration
from imder.calibration.conformal import check_level, intervals, prediction_sets
from imder.calibration.predictive import ClassPredictive, ValuePredictive
from imder.calibration.scores import Array, crps
from imder.types import ImderError

log = logging.getLogger(__name__)

LEVEL = 0.9
"""How often an interval or a set holds the label, unless another level is asked for."""


@dataclass(frozen=True)
class Intervals:
    """Of M rows, ``(M,)`` each.

    Attributes:
        low, high: ends of the interval; within the bounds of the labels.
        deviation: standard deviation of the predictive distribution: how sure the system is of a row.
        crps: of the predictive distribution; nan where no labels were given.
    """

    low: Array
    high: Array
    deviation: Array
    crps: Array


@dataclass(frozen=True)
class Sets:
    """Of M rows.

    Attributes:
        probabilities: ``(M, C)``, calibrated.
        members: ``(M, C)`` bool, the classes of each row's prediction set; never none.
    """

    probabilities: Array
    members: NDArray[np.bool_]


def check_recoveries(calibration: Calibration, recoveries: int) -> None:
    """Warn where predictions have another number of recoveries than those that were calibrated."""
    if recoveries != calibration.recoveries:
        log.warning(
            "calibrated with %d recoveries for each prediction, not %d: intervals and sets may not cover what they say",
            calibration.recoveries,
            recoveries,
        )


def describe_values(
    calibration: Calibration,
    spread: NDArray[np.floating[Any]],
    available: NDArray[np.bool_],
    level: float = LEVEL,
    labels: NDArray[np.floating[Any]] | None = None,
) -> Intervals:
    """Intervals of numbers.

    Args:
        calibration: of the system that predicts.
        spread: ``(M, S)``.
        available: ``(M, K)``.
        level: how often an interval shall hold the label, in (0, 1).
        labels: ``(M,)``, for the score alone.

    Raises:
        ImderError: a level outside (0, 1), or a calibration of classes.
    """
    check_level(level)
    if calibration.bounds is None:
        raise ImderError("this is a calibration of classes: it has no intervals")
    bounds = calibration.bounds
    found = Intervals(*(np.full(len(spread), np.nan) for _ in range(4)))
    for rows, group in calibration.groups(available):
        assert isinstance(group.predictive, ValuePredictive)
        points = group.predictive.points(spread[rows].astype(np.float64))
        found.low[rows], found.high[rows] = intervals(points, group.scores.threshold(level), bounds)
        points = np.clip(points, *bounds)
        found.deviation[rows] = points.std(axis=1)
        if labels is not None:
            found.crps[rows] = crps(points, labels[rows].astype(np.float64), in_order=True)
    return found


def describe_classes(
    calibration: Calibration,
    spread: NDArray[np.floating[Any]],
    available: NDArray[np.bool_],
    level: float = LEVEL,
) -> Sets:
    """Calibrated probabilities and prediction sets of a spread ``(M, S, C)``; else as `describe_values`."""
    check_level(level)
    if calibration.bounds is not None:
        raise ImderError("this is a calibration of numbers: it has no sets of classes")
    shape = len(spread), spread.shape[-1]
    found = Sets(np.full(shape, np.nan), np.zeros(shape, dtype=bool))
    for rows, group in calibration.groups(available):
        assert isinstance(group.predictive, ClassPredictive)
        found.probabilities[rows] = group.predictive.probabilities(spread[rows].astype(np.float64))
        found.members[rows] = prediction_sets(found.probabilities[rows], group.scores.threshold(level))
    return found
