"""Arrays in files, for features that needn't fit into memory."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from imder.jobs.files import written_to

_CHUNK = 1 << 20


def mapped_zeros(shape: tuple[int, int], file: IO[bytes], where: str | Path) -> NDArray[np.float32]:
    """Zeros of a shape, memory-mapped in an empty file.

    The file's space is reserved first: a process that writes to a map on a full disk is killed, without an error.

    Args:
        shape: without a 0.
        file: open for reading and writing.
        where: names the file in messages.

    Raises:
        ImderError: there is no space for it.

    >>> import tempfile
    >>> with tempfile.TemporaryFile() as file:
    ...     mapped_zeros((2, 3), file, "a temporary file").tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    with written_to(where):
        _reserve(file, math.prod(shape) * 4)
        return np.memmap(file, np.float32, "r+", shape=shape)


def _reserve(file: IO[bytes], size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    for begin in range(0, size, _CHUNK):
        file.write(bytes(min(_CHUNK, size - begin)))
    file.flush()
