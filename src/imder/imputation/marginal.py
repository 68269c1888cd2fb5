"""Predictions of a fixed model, averaged over draws of what its inputs lack, and their calibrated uncertainty."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.calibration.calibration import Calibration, fit_calibration
from imder.calibration.conformal import check_level
from imder.calibration.describe import LEVEL, describe_classes, describe_values
from imder.imputation.imputed import Imputed
from imder.rows import Rows
from imder.types import ImderError, Spec

log = logging.getLogger(__name__)

Floats = NDArray[np.floating[Any]]
NO_BOUNDS = (-np.inf, np.inf)
SUM_TOLERANCE = 1e-3
"""Probabilities of a sample may miss a sum of 1 by this."""


@dataclass(frozen=True, repr=False)
class Marginal:
    """Predictions of N samples under S draws.

    Attributes:
        prediction: ``(N,)`` or ``(N, C)``, the average over draws; for samples that lack nothing, exactly what the function
            returned.
        spread: ``(S, N)`` or ``(S, N, C)``, the prediction of each draw; equal for samples that lack nothing.
        filled: ``(N, K)`` bool, what was drawn.
        ids, labels: of the samples.
        spec: of the corpus.
        low, high: ``(N,)``, the ends of the intervals, after `calibrate` for numbers.
        probabilities, sets: ``(N, C)`` float and bool, calibrated probabilities and the classes of each prediction set, after
            `calibrate` for classes.
        level: what intervals or sets are calibrated to cover.
        calibration: of `calibrate`.
    """

    prediction: Floats
    spread: Floats
    filled: NDArray[np.bool_]
    ids: tuple[str, ...]
    labels: NDArray[Any] | None
    spec: Spec
    again: Callable[[Imputed, int], Marginal] = field(repr=False)
    """Applies the same function to other samples, with a number of draws."""
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None
    probabilities: NDArray[np.float64] | None = None
    sets: NDArray[np.bool_] | None = None
    level: float | None = None
    calibration: Calibration | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.prediction)

    def __repr__(self) -> str:
        lacking = int(self.filled.any(axis=1).sum())
        kind = "" if self.level is None else f"; {'sets' if self.low is None else 'intervals'} of {self.level:.0%}"
        return f"Marginal({len(self)} samples, {lacking} of them from {len(self.spread)} draws{kind})"

    def calibrate(
        self,
        labelled: Imputed | Marginal | Any,
        level: float = LEVEL,
        *,
        bounds: tuple[float, float] = NO_BOUNDS,
    ) -> Marginal:
        """The same predictions with split-conformal intervals (numbers) or prediction sets (classes).

        They cover ``level`` of the labels of samples that are exchangeable with the labelled ones: alike, and lacking the
        same modalities as often. A subset of available modalities with 100 labelled samples is calibrated by itself,
        others together (`imder.calibration.calibration`).

        Args:
            labelled: labelled samples: an `Imputed`, on which the function is called; its predictions, a `Marginal`; or
                labels ``(N,)`` of these samples themselves, NaN or -1 where unknown. Intervals of samples that took part
                aren't independent of their labels.
            level: share of labels to cover, in (0, 1).
            bounds: the smallest and the largest possible number; intervals are cut there.

        Raises:
            ImderError: there are no labels, they don't fit the predictions, rows aren't probabilities, the level is outside
                (0, 1), or there are bounds of classes.
        """
        check_level(level)
        limits = _bounds(bounds)
        if isinstance(labelled, Imputed):
            labelled = self.again(labelled, len(self.spread))
        if not isinstance(labelled, Marginal):
            labelled = replace(self, labels=_labels(labelled, self))
        spread, labels, rows = labelled._labelled()
        if spread.ndim == 3 and limits != NO_BOUNDS:
            raise ImderError("calibrate: bounds are of numbers; classes have none")
        spec = replace(self.spec, task="classification" if spread.ndim == 3 else "regression")
        calibration = fit_calibration(
            spec, spread, ~labelled.filled[rows], labels, np.arange(len(rows)), limits if spread.ndim == 2 else None
        )
        if (needed := int(np.ceil(level / (1 - level) - 1e-9))) > len(rows):
            log.warning(
                "%d labelled samples are too few for a level of %g: %d are needed, so every label is covered",
                *(len(rows), level, needed),
            )
        done = replace(self, level=level, calibration=calibration)
        own = np.moveaxis(self._by_class(), 0, 1)
        if spread.ndim == 2:
            intervals = describe_values(calibration, own, ~self.filled, level)
            return replace(done, low=intervals.low, high=intervals.high)
        sets = describe_classes(calibration, own, ~self.filled, level)
        return replace(done, probabilities=sets.probabilities, sets=sets.members)

    def rows(self) -> Rows:
        """A row for each sample: ``id``, ``missing``, the prediction, and intervals or sets if calibrated."""
        table = Rows()
        spread = self._by_class()
        for i, name in enumerate(self.ids):
            missing = "+".join(m for m, lacks in zip(self.spec.names, self.filled[i], strict=True) if lacks)
            row: dict[str, Any] = {"id": name, "missing": missing}
            if spread.ndim == 2:
                row |= {"prediction": float(np.ravel(self.prediction[i])[0]), "std": float(spread[:, i].std())}
            else:
                p = spread[:, i].mean(axis=0) if self.prediction.ndim == 1 else self.prediction[i]
                names = self.spec.classes if len(self.spec.classes) == len(p) else tuple(map(str, range(len(p))))
                row |= {"label": names[int(p.argmax())]} | {f"p_{c}": float(x) for c, x in zip(names, p, strict=True)}
                if self.sets is not None:
                    row["set"] = "|".join(c for c, is_in in zip(names, self.sets[i], strict=True) if is_in)
            if self.low is not None and self.high is not None:
                row |= {"low": float(self.low[i]), "high": float(self.high[i])}
            table.append(row)
        return table

    def _by_class(self) -> Floats:
        """The spread ``(S, N)`` of numbers, or ``(S, N, C)`` of classes: one column of a binary problem becomes two."""
        spread = self.spread[..., 0] if self.spread.ndim == 3 and self.spread.shape[2] == 1 else self.spread
        if self.spec.task == "classification" and spread.ndim == 2 and len(self.spec.classes) == 2:
            return np.stack([1 - spread, spread], axis=-1)
        return spread

    def _labelled(self) -> tuple[Floats, NDArray[Any], NDArray[np.int64]]:
        """Spread ``(M, S)`` or ``(M, S, C)``, labels ``(M,)`` and numbers of the labelled samples, checked."""
        labels = self.labels
        if labels is None:
            raise ImderError("calibrate: the samples have no labels")
        is_classes = labels.dtype.kind != "f"
        rows = np.flatnonzero(labels >= 0 if is_classes else ~np.isnan(labels))
        if not len(rows):
            raise ImderError("calibrate: no sample has a label")
        spread = np.moveaxis(self._by_class(), 0, 1)[rows].astype(np.float64)
        if is_classes != (spread.ndim == 3):
            kinds = ("numbers", "classes") if is_classes else ("probabilities of classes", "numbers")
            raise ImderError(f"calibrate: predict returns {kinds[0]}, but the labels are {kinds[1]}")
        if is_classes:
            if (largest := int(labels[rows].max())) >= spread.shape[2]:
                raise ImderError(
                    f"calibrate: class {largest} has no column in predictions of {spread.shape[2]} classes"
                )
            sums = spread.sum(axis=2)
            if (spread < -SUM_TOLERANCE).any() or (abs(sums - 1) > SUM_TOLERANCE).any():
                worst = float(sums.flat[int(abs(sums - 1).argmax())])
                raise ImderError(
                    f"calibrate: sets of classes need probabilities that sum to 1 in each row; predict returns a row with "
                    f"the sum {worst:g} and the smallest value {float(spread.min()):g}"
                )
        return spread, labels[rows], rows


def _bounds(given: Any) -> tuple[float, float]:
    """The smallest and the largest possible number; `ImderError` for anything else."""
    try:
        low, high = (float(x) for x in given)
    except (TypeError, ValueError):
        low, high = np.inf, -np.inf
    if not low < high:
        raise ImderError(f"calibrate: bounds are the smallest and the largest possible number, got {given!r}")
    return low, high


def _labels(given: Any, marginal: Marginal) -> NDArray[Any]:
    """Labels ``(N,)``: float32 numbers or int64 classes."""
    try:
        labels = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise ImderError(
            "calibrate: an Imputed, a Marginal or an array of labels is needed; classes are numbers from 0, in the order "
            "of predict's columns"
        ) from None
    if labels.shape != (len(marginal),):
        raise ImderError(
            f"calibrate: {len(marginal)} labels are needed, NaN where unknown; got the shape {labels.shape}"
        )
    if marginal._by_class().ndim == 2:
        return labels
    labels = np.where(np.isnan(labels), -1, labels)
    if (labels != np.floor(labels)).any():
        raise ImderError("calibrate: classes are whole numbers from 0, in the order of predict's columns")
    return labels.astype(np.int64)
