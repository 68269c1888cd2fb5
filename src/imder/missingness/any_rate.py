"""Training masks for dialogues: every dialogue has a missing rate of its own, from 0 to the largest possible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imder.missingness.masks import Mask, check_present, stream
from imder.missingness.random_missing import one_of_each
from imder.types import ImderError


@dataclass(frozen=True)
class AnyRate:
    """For each dialogue a missing rate, uniform from 0 to its cap; dropped cells as in `RandomMissing`.

    Args:
        dialogue: ``(N,)`` numbers, equal for the clips of one dialogue.

    >>> present = np.ones((6, 3), dtype=bool)
    >>> available = AnyRate(np.array([0, 0, 0, 1, 1, 1])).sample(present, seed=3)
    >>> available.reshape(2, -1).mean(1).round(2).tolist(), bool(available.any(1).all())
    ([0.67, 1.0], True)
    """

    dialogue: NDArray[np.int64]
    protocol: ClassVar[str] = "any rate"

    def sample(self, present: ArrayLike, seed: int) -> Mask:
        """Draw ``available``, ``(N, K)`` bool, at least one modality kept in each row.

        Raises:
            ImderError: ``present`` isn't a bool ``(N, K)`` array with a True in each row, its rows aren't those of
                ``dialogue``, or the seed is negative.
        """
        present = check_present(present)
        if len(self.dialogue) != len(present):
            raise ImderError(f"masks of {len(self.dialogue)} clips of dialogues were asked for {len(present)} rows")
        generator = stream(self.protocol, seed)
        kept = one_of_each(present, generator)
        _, number = np.unique(self.dialogue, return_inverse=True)
        cells = np.flatnonzero(present & ~kept)  # those that can be dropped, of each dialogue in random order
        group = number[cells // present.shape[1]]
        order = np.lexsort((generator.random(len(cells)), group))
        cells, group = cells[order], group[order]
        droppable = np.bincount(group, minlength=number.max(initial=-1) + 1)
        rank = np.arange(len(cells)) - (np.cumsum(droppable) - droppable)[group]
        count = np.rint(generator.random(len(droppable)) * droppable)
        available: Mask = present.copy()
        available.reshape(-1)[cells[rank < count[group]]] = False
        return available
