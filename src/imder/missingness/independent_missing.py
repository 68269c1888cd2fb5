"""Every modality of every clip is dropped independently, with a rate of its own.

A present cell (i, k) is dropped with probability r_k. Where a clip would keep nothing, one of its present modalities is kept,
drawn in proportion to 1 - r_k (uniformly where every r_k is 1): no modality is guaranteed, but one of them is. The share that
is missing is therefore below the mean of the rates where they are high.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imder.missingness.masks import Mask, check_present, check_rate, stream
from imder.types import ImderError


@dataclass(frozen=True)
class IndependentMissing:
    """Independent drops.

    Args:
        rates: the probability that a cell is dropped: one number, or one for each of the K modalities in their order.

    Raises:
        ImderError: a rate outside [0, 1], or no rates.

    >>> present = np.ones((10_000, 3), dtype=bool)
    >>> available = IndependentMissing((0.1, 0.6, 0.3)).sample(present, seed=0)
    >>> (1 - available.mean(0)).round(2).tolist(), bool(available.any(1).all())
    ([0.09, 0.61, 0.29], True)
    """

    rates: float | Sequence[float]
    protocol: ClassVar[str] = "independent"

    def __post_init__(self) -> None:
        rates = np.atleast_1d(np.asarray(self.rates, float))
        if rates.ndim != 1 or not len(rates):
            raise ImderError(f"rates are a number or one number for each modality, got {self.rates!r}")
        for rate in rates.tolist():
            check_rate(rate)
        object.__setattr__(self, "rates", rates[0].item() if np.ndim(self.rates) == 0 else tuple(rates.tolist()))

    @classmethod
    def by_name(cls, rates: Mapping[str, float], names: Sequence[str]) -> Self:
        """With the rate of each of K modalities by its name.

        Args:
            rates: by name.
            names: of the modalities, in their order.

        Raises:
            ImderError: an unknown modality, one without a rate, or a rate outside [0, 1].

        >>> IndependentMissing.by_name({"audio": 0.3, "language": 0.1}, ("language", "audio")).rates
        (0.1, 0.3)
        """
        if set(rates) != set(names):
            raise ImderError(f"rates (--rates): give a rate for each of {', '.join(names)}, got {', '.join(rates)}")
        return cls([rates[name] for name in names])

    @property
    def rate(self) -> float:
        """The mean of the rates."""
        return float(np.mean(self.rates))

    def sample(self, present: ArrayLike, seed: int) -> Mask:
        """Draw ``available``, ``(N, K)`` bool.

        Raises:
            ImderError: ``present`` isn't a bool ``(N, K)`` array with a True in each row, there are several rates but not
                K, or the seed is negative.
        """
        present = check_present(present)
        count = present.shape[1]
        if np.ndim(self.rates) and np.size(self.rates) != count:
            raise ImderError(f"independent protocol: {np.size(self.rates)} rates for {count} modalities")
        generator = stream(self.protocol, seed, self.rate)
        return keep_one(present, np.broadcast_to(np.asarray(self.rates, float), present.shape), generator)


def keep_one(present: Mask, drop: NDArray[np.float64], generator: np.random.Generator) -> Mask:
    """Drop present cells with probabilities ``drop`` (N, K); a row that would keep nothing keeps one, drawn by 1 - ``drop``."""
    available: Mask = present & (generator.random(present.shape) >= drop)
    uniform = generator.random(len(present))
    empty = np.flatnonzero(~available.any(1))
    keep = np.where(present[empty], 1.0 - drop[empty], 0.0)
    keep = np.where(keep.sum(1, keepdims=True) > 0, keep, present[empty])
    share = np.cumsum(keep, 1) / keep.sum(1, keepdims=True)
    available[empty, (share <= uniform[empty, None]).sum(1)] = True
    return available
