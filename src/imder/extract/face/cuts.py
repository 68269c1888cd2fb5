"""Cuts between shots, after which a face is another face."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from imder.extract.decoded import Image

CELLS = 16
"""Frames are compared on a grid of so many cells a side, so that movement and noise count little."""
MIN_CHANGE = 10.0
"""Least change at a cut in grey levels of 255, the median over cells: people who move leave most of the picture as it is.
Changes of the whole picture's brightness don't count."""
MIN_RATIO = 3.0
"""A cut changes more than the median of the frames before, times this."""
_MEMORY = 8  # frames


class CutDetector:
    """Whether each frame begins a new shot; frames are given one by one."""

    def __init__(self) -> None:
        self._cells: NDArray[np.float32] | None = None
        self._changes: deque[float] = deque(maxlen=_MEMORY)

    def __call__(self, image: Image) -> bool:
        """Whether a frame ``(H, W, 3)`` begins a new shot."""
        cells, before = coarse(image), self._cells
        self._cells = cells
        if before is None or before.shape != cells.shape:
            self._changes.clear()
            return before is not None
        difference = cells - before
        change = float(np.median(np.abs(difference - np.median(difference))))
        usual = float(np.median(self._changes)) if self._changes else MIN_CHANGE
        is_cut = change >= MIN_CHANGE and change >= MIN_RATIO * usual
        self._changes.append(change)
        if is_cut:
            self._changes.clear()
        return is_cut


def coarse(image: Image) -> NDArray[np.float32]:
    """Mean brightness in each cell of a grid, from every few pixels of an image.

    >>> coarse(np.full((480, 640, 3), 7, np.uint8)).shape
    (12, 16)
    """
    step = max(1, max(image.shape[:2]) // (4 * CELLS))
    grey = image[step // 2 :: step, step // 2 :: step].mean(axis=2, dtype=np.float32)
    side = max(1, max(grey.shape) // CELLS)
    rows, columns = (max(1, size // side) for size in grey.shape)
    grey = grey[: rows * side, : columns * side]
    cells: NDArray[np.float32] = grey.reshape(rows, grey.shape[0] // rows, columns, grey.shape[1] // columns).mean(
        axis=(1, 3)
    )
    return cells
