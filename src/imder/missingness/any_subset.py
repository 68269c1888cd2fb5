"""Training masks for a model that serves every pattern: a random non-empty subset for each sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from imder.missingness.masks import Mask, check_present, stream


@dataclass(frozen=True)
class AnySubset:
    """For each sample a non-empty subset of its present modalities, every one equally likely.

    >>> available = AnySubset().sample(np.ones((7000, 3), dtype=bool), seed=0)
    >>> counts = np.unique(available @ [1, 2, 4], return_counts=True)[1]
    >>> len(counts), bool(abs(counts - 1000).max() < 120)
    (7, True)
    """

    protocol: ClassVar[str] = "any"

    def sample(self, present: ArrayLike, seed: int) -> Mask:
        """Draw ``available``, ``(N, K)`` bool.

        Each present modality is kept by a fair coin, and rows left empty are tossed again: given that it is non-empty,
        a subset of p fair coins is uniform over its 2^p - 1 values.

        Raises:
            ImderError: ``present`` isn't a bool ``(N, K)`` array, has a row without any True, or the seed is negative.
        """
        present = check_present(present)
        generator = stream("any", seed)
        available: Mask = np.zeros_like(present)
        while len(rows := np.flatnonzero(~available.any(axis=1))):
            available[rows] = present[rows] & (generator.random((len(rows), present.shape[1])) < 0.5)
        return available
