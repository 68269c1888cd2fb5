"""Clips at regular intervals of a pass of unknown length, within bounds of memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.split import Ragged

MOST_CLIPS = 8192
MOST_VALUES = 2**28
"""1 GiB of float32."""


class ClipSample:
    """Every clip while these are few; each time a bound is reached, every second one of those kept is dropped.

    Args:
        dim: D.
        most_clips: largest number of clips.
        most_values: largest number of values in all of them, at least those of one clip.

    >>> sample = ClipSample(1, most_clips=4)
    >>> for i in range(11):
    ...     sample.add(np.full((1, 1), i))
    >>> sample.sequences().values[:, 0].tolist()
    [0.0, 4.0, 8.0]
    """

    def __init__(self, dim: int, most_clips: int = MOST_CLIPS, most_values: int = MOST_VALUES) -> None:
        self._dim, self._most_clips, self._most_values = dim, most_clips, most_values
        self._clips: list[NDArray[np.float32]] = []
        self._count, self._interval, self._values = 0, 1, 0

    def add(self, clip: NDArray[Any]) -> None:
        """Take the next clip ``(T, D)`` into account."""
        self._count += 1
        if (self._count - 1) % self._interval:
            return
        self._clips.append(np.array(clip, dtype=np.float32))  # a copy, which doesn't keep the batch in memory
        self._values += clip.size
        while len(self._clips) > self._most_clips or (self._values > self._most_values and len(self._clips) > 1):
            self._clips = self._clips[::2]
            self._interval *= 2
            self._values = sum(each.size for each in self._clips)

    def sequences(self) -> Ragged:
        """The clips that are kept."""
        return Ragged.from_list([*self._clips], self._dim)
