"""Calibrated uncertainty of predictions: intervals and CRPS of numbers, probabilities and prediction sets of classes."""

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
"""The default coverage of intervals and prediction sets."""


@dataclass(frozen=True)
class Intervals:
    """Calibrated intervals of M rows; each array is ``(M,)``.

    Attributes:
        low, high: ends of the interval; within the bounds of the labels.
        deviation: standard deviation of the predictive distribution.
        crps: of the predictive distribution; nan without labels.
    """

    low: Array
    high: Array
    deviation: Array
    crps: Array


@dataclass(frozen=True)
class Sets:
    """Calibrated probabilities and prediction sets of M rows.

    Attributes:
        probabilities: ``(M, C)``, calibrated.
        members: ``(M, C)`` bool, the classes of each row's prediction set; at least one.
    """

    probabilities: Array
    members: NDArray[np.bool_]


def check_recoveries(calibration: Calibration, recoveries: int) -> None:
    """Warn where the number of recoveries differs from that of the calibration."""
    if recoveries != calibration.recoveries:
        log.warning(
            "calibrated on spreads of %d predictions (recoveries times members), not %d: "
            "intervals and sets may not reach their level",
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
    """Calibrated intervals of numbers.

    Args:
        calibration: of the system that predicts.
        spread: ``(M, S)``.
        available: ``(M, K)``.
        level: the coverage of the intervals, in (0, 1).
        labels: ``(M,)``, for the CRPS alone.

    Raises:
        ImderError: the level is outside (0, 1), or the calibration is of classes.
    """
    check_level(level)
    if calibration.bounds is None:
        raise ImderError("a calibration of classes has no intervals; use describe_classes")
    bounds = calibration.bounds
    described = Intervals(*(np.full(len(spread), np.nan) for _ in range(4)))
    for rows, group in calibration.groups(available):
        assert isinstance(group.predictive, ValuePredictive)
        points = group.predictive.points(spread[rows].astype(np.float64))
        described.low[rows], described.high[rows] = intervals(points, group.scores.threshold(level), bounds)
        points = np.clip(points, *bounds)
        described.deviation[rows] = points.std(axis=1)
        if labels is not None:
            described.crps[rows] = crps(points, labels[rows].astype(np.float64), in_order=True)
    return described


def describe_classes(
    calibration: Calibration,
    spread: NDArray[np.floating[Any]],
    available: NDArray[np.bool_],
    level: float = LEVEL,
) -> Sets:
    """Calibrated probabilities and prediction sets of a spread ``(M, S, C)``; arguments and errors as in `describe_values`."""
    check_level(level)
    if calibration.bounds is not None:
        raise ImderError("a calibration of numbers has no prediction sets; use describe_values")
    shape = len(spread), spread.shape[-1]
    described = Sets(np.full(shape, np.nan), np.zeros(shape, dtype=bool))
    for rows, group in calibration.groups(available):
        assert isinstance(group.predictive, ClassPredictive)
        described.probabilities[rows] = group.predictive.probabilities(spread[rows].astype(np.float64))
        described.members[rows] = prediction_sets(described.probabilities[rows], group.scores.threshold(level))
    return described
