"""Blocks of columns."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from imder.types import ImderError

Blocks = Sequence[int] | Sequence[slice] | Sequence[Sequence[int]]
"""Sizes of successive blocks, or for each block a slice or indices of columns."""


def column_blocks(blocks: Blocks | None, columns: int) -> list[NDArray[np.int64]]:
    """The column indices of each block.

    Args:
        blocks: sizes, slices or lists of indices; None: each column is a block.
        columns: F.

    Raises:
        ImderError: there are fewer than two blocks, one is empty, or they don't cover each column once.

    >>> [block.tolist() for block in column_blocks((2, 1), 3)]
    [[0, 1], [2]]
    >>> [block.tolist() for block in column_blocks([slice(1, None), [0]], 3)]
    [[1, 2], [0]]
    """
    if blocks is None:
        return list(np.arange(columns)[:, None])
    try:
        parts = list(blocks)
    except TypeError:
        raise ImderError(
            f"blocks: sizes, slices or lists of columns are needed, one for each block, got {blocks!r}"
        ) from None
    sizes = [int(part) for part in parts if isinstance(part, Integral) and not isinstance(part, bool)]
    if len(sizes) == len(parts):
        if sum(sizes) != columns or min(sizes, default=0) < 1:
            raise ImderError(f"blocks: sizes {sizes} don't add up to the {columns} columns of X")
        made = np.split(np.arange(columns), np.cumsum(sizes)[:-1])
    else:
        try:
            made = [np.arange(columns)[part if isinstance(part, slice) else np.asarray(part)] for part in parts]
        except (IndexError, TypeError, ValueError):
            raise ImderError(
                f"blocks: sizes, or a slice or list of columns 0 to {columns - 1} for each block, are needed, got {parts!r}"
            ) from None
    if len(made) < 2 or any(block.ndim != 1 or not len(block) for block in made):
        raise ImderError(f"blocks: two blocks or more, none of them empty, are needed, got {parts!r}")
    counts = np.bincount(np.concatenate(made), minlength=columns)
    if (counts != 1).any():
        column = int(np.flatnonzero(counts != 1)[0])
        raise ImderError(f"blocks: column {column} of X is in {counts[column]} blocks; each column belongs to one")
    return made
