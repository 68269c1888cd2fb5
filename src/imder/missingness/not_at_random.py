r"""Missing not at random: what is missing depends on what can't be read from the rest.

A present cell (i, k) is dropped with probability 1 / (1 + exp(-(a_k + s z_ik))), where s is the strength and a_k makes the
mean over the present cells of modality k equal to the rate. z is standardised over the split:

* `LabelMissing`: by the label. Regression: z is the label, so that clips with a high label lack more. Classes: each has an
  offset, standard normal and drawn once from the number of the class. Clips without a label have z = 0.
* `IntensityMissing`: by the modality itself. z is minus the logarithm of the clip's mean squared deviation of the modality's
  features from their means over the split, in standard deviations: quiet sound and still faces are missing more often.

A clip that would keep nothing keeps one modality (`imder.missingness.independent_missing`). With s = 0 the masks are those of
independent drops in distribution.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imder.data.split import Ragged, Split
from imder.missingness.independent_missing import keep_one
from imder.missingness.masks import Mask, check_present, check_rate, stream
from imder.types import ImderError


@dataclass(frozen=True)
class NotAtRandom(ABC):
    """Drops whose probability depends on a variable of the clip; use one of the two subclasses.

    Args:
        rate: the mean probability that a present cell is dropped.
        strength: s, in log odds for each standard deviation of the variable.
        variable: ``(N, K)``, standardised; `bind` computes it from a split.

    Raises:
        ImderError: a rate outside [0, 1], or a strength that isn't finite.
    """

    rate: float
    strength: float = 1.0
    variable: NDArray[np.float64] | None = None
    protocol: ClassVar[str]

    def __post_init__(self) -> None:
        check_rate(self.rate)
        if not np.isfinite(self.strength):
            raise ImderError(f"{self.protocol} protocol: the strength must be a finite number, got {self.strength}")

    def bind(self, split: Split) -> Self:
        """The protocol with the variable of a split.

        Raises:
            ImderError: the split has no such variable.
        """
        return replace(self, variable=self._variable(split))

    @abstractmethod
    def _variable(self, split: Split) -> NDArray[np.float64]:
        """``(N, K)``, standardised."""

    def sample(self, present: ArrayLike, seed: int) -> Mask:
        """Draw ``available``, ``(N, K)`` bool, at least one modality kept in each row.

        Raises:
            ImderError: `bind` wasn't called, ``present`` isn't a bool ``(N, K)`` array of the variable's shape with a True in
                each row, or the seed is negative.
        """
        present = check_present(present)
        if self.variable is None:
            raise ImderError(f"{self.protocol} protocol: it needs the samples; call bind(split) first")
        if self.variable.shape != present.shape:
            raise ImderError(f"{self.protocol} protocol: a variable {self.variable.shape} for a mask {present.shape}")
        generator = stream(self.protocol, seed, self.rate)
        drop = np.zeros(present.shape)
        for k in range(present.shape[1]):
            rows = present[:, k]
            drop[rows, k] = drop_probabilities(self.variable[rows, k], self.rate, self.strength)
        return keep_one(present, drop, generator)


class LabelMissing(NotAtRandom):
    """Drops that depend on the label.

    >>> split = Split(tuple("abcd"), {"voice": Ragged(np.zeros((4, 1)), np.arange(5))}, np.array([-1.0, 0.0, 1.0, np.nan]))
    >>> LabelMissing(0.5).bind(split).variable.round(2).tolist()
    [[-1.22], [0.0], [1.22], [0.0]]
    """

    protocol: ClassVar[str] = "label"

    def _variable(self, split: Split) -> NDArray[np.float64]:
        if split.labels is None:
            raise ImderError("label protocol: the samples have no labels")
        values = np.asarray(split.labels, float)
        if np.issubdtype(split.labels.dtype, np.integer):
            offsets = [np.random.default_rng((7, c)).standard_normal() for c in range(int(values.max(initial=0)) + 1)]
            values = np.array([offsets[c] if c >= 0 else 0.0 for c in split.labels.tolist()])
        return np.repeat(standardised(values, split.labelled)[:, None], len(split.features), 1)


class IntensityMissing(NotAtRandom):
    """Drops that depend on the modality's own intensity.

    >>> split = Split(("quiet", "loud"), {"voice": Ragged(np.array([[0.1], [-0.1], [9.0], [-9.0]]), np.array([0, 2, 4]))})
    >>> IntensityMissing(0.5).bind(split).variable.round(6).tolist()
    [[1.0], [-1.0]]
    """

    protocol: ClassVar[str] = "intensity"

    def _variable(self, split: Split) -> NDArray[np.float64]:
        columns = [
            -standardised(_log_energy(sequences), sequences.lengths > 0) for sequences in split.features.values()
        ]
        return np.stack(columns, 1)


def drop_probabilities(variable: NDArray[np.float64], rate: float, strength: float) -> NDArray[np.float64]:
    """Logistic probabilities ``(n,)`` whose mean is the rate.

    >>> drop_probabilities(np.array([-1.0, 0.0, 1.0]), 0.5, 2.0).round(3).tolist()
    [0.119, 0.5, 0.881]
    """
    if rate in (0.0, 1.0) or not len(variable):
        return np.full(len(variable), rate)
    slope = strength * variable
    low, high = -50.0 - np.abs(slope).max(), 50.0 + np.abs(slope).max()
    for _ in range(200):  # the mean increases with the intercept
        middle = (low + high) / 2
        low, high = (middle, high) if _logistic(middle + slope).mean() < rate else (low, middle)
    return _logistic((low + high) / 2 + slope)


def standardised(values: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Values with mean 0 and deviation 1 over ``mask``; 0 elsewhere, and everywhere if they are all equal."""
    out = np.zeros(len(values))
    if mask.any():
        chosen = values[mask]
        deviation = chosen.std()
        out[mask] = (chosen - chosen.mean()) / deviation if deviation > 0 else 0.0
    return out


def _log_energy(sequences: Ragged) -> NDArray[np.float64]:
    """For each clip the logarithm of its mean squared deviation, in standard deviations of the feature ``(N,)``."""
    values = sequences.values.astype(float)
    deviation = values.std(0) if len(values) else np.ones(sequences.dim)
    energy = (
        (((values - values.mean(0)) / np.where(deviation > 0, deviation, 1.0)) ** 2).mean(1)
        if len(values)
        else values[:, 0]
    )
    total = np.add.reduceat(np.r_[energy, 0.0], sequences.offsets[:-1]) if len(sequences) else np.zeros(0)
    mean = np.where(sequences.lengths > 0, total / np.maximum(sequences.lengths, 1), 1.0)
    return np.log(np.maximum(mean, 1e-12))


def _logistic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(-np.logaddexp(0.0, -x))
