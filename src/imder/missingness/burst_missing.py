r"""Bursts: a modality is gone for several neighbouring clips, as behind a broken camera.

Along the clips of a dialogue, in their order, each modality is a Markov chain with two states. With rate r and a mean burst
of L clips it returns with probability 1 / L and leaves with probability r / (L (1 - r)), at most 1 (longer bursts then), and
starts missing with probability r: in every clip the probability that it is missing is r. Chains of modalities and of dialogues
are independent. Where all are gone, the modality is kept that comes first in an order drawn once for each dialogue: it stays
the same one throughout a burst.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imder.data.dialogues import dialogue_numbers
from imder.data.split import Split
from imder.missingness.masks import Mask, check_present, check_rate, stream
from imder.types import ImderError


@dataclass(frozen=True)
class BurstMissing:
    """Drops that last for several clips of a dialogue.

    Args:
        rate: the probability that a modality is missing in a clip.
        length: L, the mean number of clips of a burst; at least 1.
        dialogue: ``(N,)`` numbers, equal for the clips of one dialogue; None: all rows are clips of one recording.
        position: ``(N,)``, the order of the clips of a dialogue; None: the order of the rows.

    Raises:
        ImderError: a rate outside [0, 1], or a length below 1.

    >>> present = np.ones((20_000, 3), dtype=bool)
    >>> missing = ~BurstMissing(0.3, length=5).sample(present, seed=0)
    >>> starts = missing[1:] & ~missing[:-1]
    >>> float(missing.mean().round(2)), float((missing.sum() / starts.sum()).round(1))
    (0.29, 4.8)
    """

    rate: float
    length: float = 4.0
    dialogue: NDArray[np.int64] | None = None
    position: NDArray[np.int64] | None = None
    protocol: ClassVar[str] = "bursts"

    def __post_init__(self) -> None:
        check_rate(self.rate)
        if not self.length >= 1:
            raise ImderError(f"bursts protocol: the mean length of a burst is at least 1 clip, got {self.length}")

    def bind(self, split: Split) -> BurstMissing:
        """The protocol for the dialogues of a split; a clip without a dialogue is one of its own."""
        return BurstMissing(self.rate, self.length, dialogue_numbers(split), split.position)

    def sample(self, present: ArrayLike, seed: int) -> Mask:
        """Draw ``available``, ``(N, K)`` bool, at least one modality kept in each row.

        Raises:
            ImderError: ``present`` isn't a bool ``(N, K)`` array with a True in each row, its rows aren't those of
                ``dialogue``, or the seed is negative.
        """
        present = check_present(present)
        rows, count = present.shape
        dialogue = np.zeros(rows, np.int64) if self.dialogue is None else self.dialogue
        if len(dialogue) != rows:
            raise ImderError(f"bursts of {len(dialogue)} clips were asked for {rows} rows")
        generator = stream(self.protocol, seed, self.rate)
        uniform, ranks = generator.random((rows, count)), generator.random((rows, count))
        order = np.lexsort((np.arange(rows) if self.position is None else self.position, dialogue))
        first = np.r_[True, np.diff(dialogue[order]) != 0] if rows else np.zeros(0, bool)
        leave = 1.0 if self.rate >= 1 else min(1.0, self.rate / (self.length * (1 - self.rate)))
        stay = 1 - leave * (1 - self.rate) / self.rate if self.rate > 0 else 0.0
        missing = np.zeros((rows, count), dtype=bool)
        rank = np.zeros((rows, count))
        state, priority = np.zeros(count, bool), np.zeros(count)
        for row, is_first in zip(order.tolist(), first.tolist(), strict=True):
            probability = self.rate if is_first else np.where(state, stay, leave)
            priority = ranks[row] if is_first else priority
            state = uniform[row] < probability
            missing[row], rank[row] = state, priority
        available: Mask = present & ~missing
        empty = np.flatnonzero(~available.any(1))
        available[empty, np.where(present[empty], rank[empty], -1.0).argmax(1)] = True
        return available
