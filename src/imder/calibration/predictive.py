"""Predictive distributions of a label: the spread of predictions over recoveries and members, and the residual noise.

A system predicts s_1 ... s_S for a row, one for each recovery of what is missing and each member (S = 1 for one member where
nothing is sampled), and m is their mean. The s_j differ by the content of the missing modalities and by how networks differ; a
label differs from m also by noise that no modality explains and by errors that all members share. The *predictive
distribution* has both:

* regression: equally weighted points clip(m + c (s_j - m) + b e_i, low, high) for all j and i, where e_i are quantiles
  of the residuals y - m on validation rows. c = 0 ignores the spread, for systems whose spread doesn't predict errors;
  b < 1 removes from the residuals the part that the spread explains. Both minimise the mean CRPS over a grid;
* classification: p ~ (mean over j of the probabilities)^(1 / T), normalised, with the temperature T that minimises the
  negative log-likelihood (Guo et al., ICML 2017). This is convex in 1 / T, so its minimum is where the slope changes sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imder.calibration.scores import MIN_PROBABILITY, Array, crps

RESIDUALS = 65
RECOVERY_GRID = (0.5, 1.0, 1.5, 2.0)  # in addition to 0
NOISE_GRID = (1.0, 0.9, 1.1, 0.8, 1.2, 0.7, 0.6, 0.5, 0.4)  # of equal scores the first is chosen
SEARCHED_ROWS, SEARCHED_RESIDUALS = 512, 33  # enough to choose two numbers
FOLDS = 20
TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True)
class ValuePredictive:
    """The predictive distribution of a number.

    Attributes:
        recovery: c, the factor of the spread.
        noise: b, the factor of the residuals.
        residuals: e_i, in increasing order.
    """

    recovery: float
    noise: float
    residuals: tuple[float, ...]

    def points(self, spread: Array) -> Array:
        """Points ``(M, n)`` in increasing order, not clipped, of a spread ``(M, S)``."""
        mean = spread.mean(axis=1, keepdims=True)
        noise = self.noise * np.array(self.residuals)
        if self.recovery == 0 or spread.shape[1] == 1:
            return np.asarray(mean + noise)
        centres = mean + self.recovery * (spread - mean)
        return np.sort((centres[:, :, None] + noise).reshape(len(spread), -1), axis=1)

    @classmethod
    def fit(cls, spread: Array, labels: Array, bounds: tuple[float, float]) -> ValuePredictive:
        """Fit to validation rows: spread ``(M, S)``, labels ``(M,)``, and the smallest and the largest possible label."""
        residuals = residuals_of(spread, labels)
        subset = np.unique(np.linspace(0, len(labels) - 1, SEARCHED_ROWS).round().astype(np.int64))
        spread, labels = spread[subset], labels[subset]
        coarse = tuple(np.quantile(residuals, _shares(SEARCHED_RESIDUALS)).tolist())
        # Without a spread, c has no effect.
        recoveries = (0.0, *RECOVERY_GRID) if np.ptp(spread, axis=1).any() else (0.0,)
        best, lowest = (0.0, 1.0), np.inf
        for recovery in recoveries:
            for noise in NOISE_GRID:
                points = np.clip(cls(recovery, noise, coarse).points(spread), *bounds)
                score = float(crps(points, labels, in_order=True).mean())
                if score < lowest:
                    best, lowest = (recovery, noise), score
        return cls(*best, residuals)

    def held_out(self, spread: Array, labels: Array, samples: NDArray[np.int64]) -> Array:
        """Points ``(M, n)`` of each row, with residuals of the rows whose ``samples`` are in other folds.

        Residuals that include a row's own make few rows look better than they are: with 100 rows at a level of 90 %, 89.6 %
        are covered with the rows' own residuals and 91.2 % with held-out ones.
        """
        number = np.unique(samples, return_inverse=True)[1]
        fold = number % FOLDS
        if number.max(initial=0) == 0:
            return self.points(spread)
        points: Array | None = None
        for f in np.unique(fold):
            other = ValuePredictive(
                self.recovery, self.noise, residuals_of(spread[fold != f], labels[fold != f], len(self.residuals))
            )
            fold_points = other.points(spread[fold == f])
            points = np.empty((len(spread), fold_points.shape[1])) if points is None else points
            points[fold == f] = fold_points
        assert points is not None
        return points


@dataclass(frozen=True)
class ClassPredictive:
    """The predictive distribution of a class: ``temperature`` T is above 1 for an overconfident system."""

    temperature: float

    def probabilities(self, spread: Array) -> Array:
        """Probabilities ``(M, C)`` of a spread ``(M, S, C)``."""
        return _softmax(_logits(spread) / self.temperature)

    @classmethod
    def fit(cls, spread: Array, labels: NDArray[np.int64]) -> ClassPredictive:
        """Fit to validation rows: spread ``(M, S, C)`` and classes ``(M,)``."""
        logits = _logits(spread)
        chosen = np.take_along_axis(logits, labels[:, None], axis=1).mean()
        low, high = (float(np.log(1 / t)) for t in reversed(TEMPERATURES))  # of ln 1/T
        for _ in range(50):
            middle = 0.5 * (low + high)
            slope = (_softmax(np.exp(middle) * logits) * logits).sum(axis=1).mean() - chosen
            low, high = (middle, high) if slope < 0 else (low, middle)
        return cls(float(np.exp(-0.5 * (low + high))))


def residuals_of(spread: Array, labels: Array, count: int = RESIDUALS) -> tuple[float, ...]:
    """Quantiles of y - m at the midpoints of ``count`` equal shares."""
    return tuple(np.quantile(labels - spread.mean(axis=1), _shares(count)).tolist())


def _shares(count: int) -> Array:
    return (np.arange(count) + 0.5) / count


def _logits(spread: Array) -> Array:
    return np.asarray(np.log(np.clip(spread.mean(axis=1), MIN_PROBABILITY, None)))


def _softmax(logits: Array) -> Array:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
