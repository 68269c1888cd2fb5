"""The random protocol: an exact share of the present cells is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from imder.missingness.masks import Mask, check_present, check_rate, stream


@dataclass(frozen=True)
class RandomMissing:
    """Drop an exact share of the present cells, at least one modality kept in each sample.

    Args:
        rate: share of the *present* cells to drop, in [0, 1]. Where it asks for more than can be dropped, every sample
            is left with exactly one modality.

    Raises:
        ImderError: a rate outside [0, 1].

    >>> present = np.ones((100, 3), dtype=bool)
    >>> from imder.missingness.masks import effective_rate
    >>> available = RandomMissing(0.5).sample(present, seed=0)
    >>> int(available.sum()), int(available.sum(1).min())
    (150, 1)
    >>> round(effective_rate(RandomMissing(0.7).sample(present, seed=0)), 4)
    0.6667
    """

    rate: float
    protocol: ClassVar[str] = "random"

    def __post_init__(self) -> None:
        check_rate(self.rate)

    def sample(self, present: ArrayLike, seed: int) -> Mask:
        """Draw ``available``, ``(N, K)`` bool: exactly min(round(rate P), P - N) of the P present cells are dropped.

        The rounding is Python's (half to even).

        Raises:
            ImderError: ``present`` isn't a bool ``(N, K)`` array, has a row without any True, or the seed is negative.
        """
        present = check_present(present)
        generator = stream("random", seed, self.rate)
        kept = one_of_each(present, generator)
        available: Mask = present.copy()
        others = np.flatnonzero(present & ~kept)
        count = min(round(self.rate * int(present.sum())), len(others))
        available.reshape(-1)[generator.permutation(others)[:count]] = False
        return available


def one_of_each(present: Mask, generator: np.random.Generator) -> Mask:
    """One present cell of each row, uniformly: the largest of independent uniform scores, ``(N, K)`` bool."""
    scores = np.where(present, generator.random(present.shape), -1.0)
    one: Mask = np.zeros_like(present)
    one[np.arange(len(present)), scores.argmax(axis=1)] = True
    return one
