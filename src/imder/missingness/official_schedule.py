"""The released IMDer code's schedule of missing modalities, to compare with its numbers.

It is a protocol like those of `imder.missingness.protocols`, but patterns are drawn for whole batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imder.missingness.masks import Mask, check_present, check_rate, stream
from imder.types import ImderError

# Of each ten batches, how many lose two modalities and how many lose one, by nominal rate .1 ... .7.
_LOSE_TWO = (1, 2, 3, 5, 7, 9, 10)
_LOSE_ONE = (1, 2, 3, 2, 1, 0, 0)


@dataclass(frozen=True)
class OfficialSchedule:
    """The released code's schedule: whole batches lose the same modalities, the first batches the most.

    With n = ceil(N / batch_size) batches and D = 10 round(n / 10) (half to even), the first batches lose two modalities
    while (batches so far that lost two) / D < .1 .2 .3 .5 .7 .9 1 for nominal rates .1 ... .7; then one is lost while
    (batches that lost one) / D < .1 .2 .3 .2 .1 0 0; the rest are complete. Which are lost is drawn uniformly once for
    each batch. Batches are those of a shuffled loader: a permutation of the rows drawn from the seed, cut into pieces
    of ``batch_size``, the last one shorter. D = 0 (5 batches or fewer) means that nothing is ever missing, and the
    nominal rate 0 *is* .7 (the same masks), as in that code. What is really missing is not what the nominal rate says:
    `effective_rate` of a 686-sample split in batches of 32 is .093 .187 .280 .373 .466 .560 .622.

    Args:
        rate: nominal rate, one of 0, .1, ..., .7.
        batch_size: rows in a batch of the loader, at least 1.

    Raises:
        ImderError: another rate, or a batch size below 1.

    >>> from imder.missingness.masks import effective_rate
    >>> present = np.ones((686, 3), dtype=bool)
    >>> [round(effective_rate(OfficialSchedule(r / 10, 32).sample(present, seed=0)), 3) for r in (1, 3, 5, 7, 0)]
    [0.093, 0.28, 0.466, 0.622, 0.622]
    """

    rate: float
    batch_size: int
    protocol: ClassVar[str] = "official"

    def __post_init__(self) -> None:
        check_rate(self.rate)
        if self._tenths > 7 or abs(self.rate * 10 - self._tenths) > 1e-6:
            raise ImderError(f"official protocol: the rate must be one of 0, 0.1, ..., 0.7, got {self.rate}")
        if self.batch_size < 1:
            raise ImderError(f"official protocol: the batch size must be at least 1, got {self.batch_size}")

    @property
    def _tenths(self) -> int:
        return round(self.rate * 10)

    def _stream(self, seed: int) -> np.random.Generator:
        return stream("official", seed, (self._tenths or 7) / 10)

    def order(self, n: int, seed: int) -> NDArray[np.int64]:
        """``(n,)``: the order in which `sample` takes rows into batches under the same seed."""
        return self._stream(seed).permutation(n)

    def sample(self, present: ArrayLike, seed: int) -> Mask:
        """Draw ``available``, ``(N, 3)`` bool.

        Raises:
            ImderError: ``present`` isn't a bool ``(N, 3)`` array without any False (the schedule is undefined where
                modalities are naturally missing), or the seed is negative.
        """
        present = check_present(present)
        if present.shape[1] != 3:
            raise ImderError(f"official protocol: defined for three modalities only, the corpus has {present.shape[1]}")
        if not present.all():
            row = int(np.flatnonzero(~present.all(axis=1))[0])
            raise ImderError(
                f"official protocol: undefined where modalities are naturally missing (row {row}); "
                "use the random, fixed or natural protocol"
            )
        level = (self._tenths or 7) - 1
        generator = self._stream(seed)
        order = generator.permutation(len(present))
        batches = -(-len(present) // self.batch_size)
        tens = round(batches / 10)
        lost_two = min(_LOSE_TWO[level] * tens, batches)
        lost_one = min(_LOSE_ONE[level] * tens, batches - lost_two)
        singled = generator.integers(3, size=batches)  # the one kept where two are lost, the one lost where one is
        patterns: Mask = np.ones((batches, 3), dtype=bool)
        patterns[:lost_two] = False
        patterns[np.arange(lost_two), singled[:lost_two]] = True
        one = np.arange(lost_two, lost_two + lost_one)
        patterns[one, singled[one]] = False
        available: Mask = np.empty_like(present)
        available[order] = patterns[np.arange(len(present)) // self.batch_size]
        return available
