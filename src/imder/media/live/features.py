"""The latest frames of a modality whose features are made elsewhere."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.media.live.clock import CLOSE

Frames = tuple[NDArray[np.float64], NDArray[np.float32]]
"""Times ``(T,)`` in seconds and features ``(T, D)``."""

MAX_RATE = 1000
"""Most frames a second that are kept."""


class FeatureBuffer:
    """Frames by their time.

    Args:
        seconds: how much is kept.

    Attributes:
        frame_seconds: the length of a frame.
    """

    def __init__(self, seconds: float) -> None:
        self._limit = int(MAX_RATE * seconds) + 1
        self._pieces: deque[Frames] = deque()
        self.size = 0
        self.frame_seconds = 0.0

    def put(self, times: NDArray[np.float64], values: NDArray[np.float32], frame_seconds: float) -> None:
        """Add frames at ascending times."""
        self.frame_seconds = frame_seconds
        self._pieces.append((times, values))
        self.size += len(times)
        while self.size > self._limit:
            self.size -= len(self._pieces.popleft()[0])

    def cut(self, start: float, end: float, *, last: bool) -> tuple[NDArray[np.float32] | None, float]:
        """The frames of ``start <= t < end`` in order (None if there are none), and the share of that time that they cover.

        ``last`` includes a frame at the end of a stream.
        """
        if not self._pieces:
            return None, 0.0
        times = np.concatenate([t for t, _ in self._pieces])
        inside = (times >= start - CLOSE) & ((times <= end + CLOSE) if last else (times < end - CLOSE))
        rows = np.flatnonzero(inside)
        if not len(rows):
            return None, 0.0
        rows = rows[np.argsort(times[rows], kind="stable")]
        values = np.concatenate([v for _, v in self._pieces])[rows]
        return values, min(1.0, len(rows) * self.frame_seconds / (end - start))

    def forget(self, before: float) -> None:
        """Let go of pieces that end before a time."""
        kept = deque(piece for piece in self._pieces if piece[0][-1] >= before - CLOSE)
        self.size = sum(len(times) for times, _ in kept)
        self._pieces = kept


def as_frames(values: Any, times: Any, dim: int) -> Frames | None:
    """Features ``(T, dim)`` and ascending times ``(T,)`` from 0, copied; None for anything else."""
    try:
        when = np.array(times, np.float64)
        frames = np.array(values, np.float32)
    except (TypeError, ValueError, OverflowError):
        return None
    if when.ndim != 1 or frames.shape != (len(when), dim):
        return None
    if not (np.isfinite(when).all() and np.isfinite(frames).all()) or (np.diff(when) < 0).any() or (when < 0).any():
        return None
    return when, frames
