"""Split-conformal calibration: intervals and prediction sets with guaranteed coverage.

Every calibration row gets a score r_i that says how badly its label fits its prediction. If n calibration rows and a new
one are exchangeable, the rank of the new row's score among all n + 1 is uniform: with q the ceil((n + 1) L)-th smallest
of r_1 ... r_n, the set of labels that score at most q holds the new label with a probability of at least L, and less
than L + 1 / (n + 1) where scores don't tie. No assumption on the model is needed. (Vovk, Gammerman and Shafer 2005.)

* regression, the interval [lo, hi] of 5 % and 95 % predictive quantiles: r = max(lo - y, y - hi), so that the set is
  [lo - q, hi + q], wider or narrower than predicted (Romano, Patterson and Candes, NeurIPS 2019). One set of scores
  serves every level: q adapts the interval of 90 % to the level;
* classification: r = 1 - p_y, so that the set holds every class of probability at least 1 - q (Sadinle, Lei and
  Wasserman, JASA 2019), and the most probable one in any case: a set is never empty.

Where n is too small for a level, ceil((n + 1) L) > n, q is infinite: only the whole range of labels has that coverage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from imder.calibration.scores import Array, quantile
from imder.types import ImderError

MAX_SCORES = 512
TAILS = (0.05, 0.95)


@dataclass(frozen=True)
class Scores:
    """The scores of calibration rows.

    Attributes:
        samples: n, the number of distinct samples among the rows; a sample with rows under several subsets counts once.
        values: scores in increasing order, at most `MAX_SCORES`. More are reduced to the highest score of each of
            `MAX_SCORES` equal shares, so that coverage is never below the level nor more than 1 / `MAX_SCORES` above it.
    """

    samples: int
    values: tuple[float, ...]

    @classmethod
    def of(cls, scores: Array, samples: int) -> Scores:
        """From the scores of rows ``(M,)`` that belong to ``samples`` distinct samples."""
        ordered = np.sort(scores)
        if len(ordered) > MAX_SCORES:
            ordered = ordered[-(-np.arange(1, MAX_SCORES + 1) * len(ordered) // MAX_SCORES) - 1]
        return cls(samples, tuple(ordered.tolist()))

    def threshold(self, level: float) -> float:
        """The threshold q of a level in (0, 1); infinite where there are too few samples.

        Raises:
            ImderError: the level is outside (0, 1).

        >>> Scores.of(np.arange(1.0, 100.0), 99).threshold(0.9), Scores.of(np.arange(8.0), 8).threshold(0.9)
        (90.0, inf)
        """
        check_level(level)
        rank = math.ceil((self.samples + 1) * level - 1e-9)
        if rank > self.samples:
            return math.inf
        return self.values[-(-rank * len(self.values) // self.samples) - 1]


def check_level(level: float) -> None:
    """Raise an `ImderError` unless the level is in (0, 1)."""
    if not isinstance(level, Real) or not 0 < level < 1:
        raise ImderError(f"the level must be between 0 and 1, like 0.9; got {level!r}")


def value_scores(points: Array, labels: Array) -> Array:
    """Scores ``(M,)`` of labels ``(M,)`` under points ``(M, n)`` in increasing order, not clipped.

    Clipped points would tie at the bounds, and ties cover too much.
    """
    low, high = (quantile(points, q) for q in TAILS)
    return np.maximum(low - labels, labels - high)


def intervals(points: Array, threshold: float, bounds: tuple[float, float]) -> tuple[Array, Array]:
    """Ends ``(M,)`` of the interval of each row's points (as in `value_scores`), within the label's bounds.

    Where a low level would give an interval of negative width, the interval is its middle.
    """
    low, high = (quantile(points, q) for q in TAILS)
    middle = 0.5 * (low + high)
    ends = np.minimum(low - threshold, middle), np.maximum(high + threshold, middle)
    return np.clip(ends[0], *bounds), np.clip(ends[1], *bounds)


def class_scores(probabilities: Array, labels: NDArray[np.int64]) -> Array:
    """Scores ``(M,)`` of classes ``(M,)`` under probabilities ``(M, C)``."""
    return np.asarray(1 - np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0])


def prediction_sets(probabilities: Array, threshold: float) -> NDArray[np.bool_]:
    """The classes in each row's set, ``(M, C)`` bool; at least one."""
    members = 1 - probabilities <= threshold
    members[np.arange(len(members)), probabilities.argmax(axis=1)] = True
    return np.asarray(members)
