"""Fields of language that hold the ids of tokens in place of features. Whether they do is decided for all splits together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.formats.fields import OTHER, RENAMED
from imder.data.formats.raw import Raw

TOKEN_IDS = "whole numbers, one for each token, are token ids; they go to text_bert (N, 3, T)"
_SMALLEST_VOCABULARY = 100
_LARGEST_COUNT = 1000
"""Whole numbers in floats may be counts up to here, as of words."""


def with_token_fields(raws: Sequence[Raw]) -> list[Raw]:
    """The splits of a corpus, told which of their fields are token ids (`Raw.token_ids`).

    They are whole numbers, one for each token (or tables ``(3, T)`` like those of ``text_bert``), and in some split as large as
    those of a vocabulary; numbers of floating-point type only where none can be a count.

    >>> short, long = Raw("a", "valid", {"text": np.array([[7, 9]])}), Raw("a", "train", {"text": np.array([[7, 2045]])})
    >>> [sorted(raw.token_ids) for raw in with_token_fields([short, long])], with_token_fields([short])[0].token_ids
    ([['text'], ['text']], frozenset())
    """
    fields = {field for raw in raws for field in raw.fields if RENAMED.get(field, field) == "language"} - OTHER
    ids = frozenset(
        field for field in fields if _are_token_ids([x for raw in raws for x in _rows(raw.fields.get(field))])
    )
    return [replace(raw, token_ids=ids) for raw in raws]


def _are_token_ids(samples: Sequence[NDArray[Any] | None]) -> bool:
    lines = [x for x in samples if x is None or x.size]
    if any(x is None or not _is_line(x) for x in lines):
        return False
    largest = max((int(x.max()) for x in lines if x is not None), default=0)
    is_clear = all(x is not None and (x.dtype.kind in "iu" or _is_table(x)) for x in lines)
    return largest >= (_SMALLEST_VOCABULARY if is_clear else _LARGEST_COUNT)


def _is_line(x: NDArray[Any]) -> bool:
    """Whether values are whole numbers from 0, one for each token: in one row or column, or in a table."""
    return bool((x >= 0).all() and (x == np.floor(x)).all()) and (_is_table(x) or x.size == max(x.shape))


def _is_table(x: NDArray[Any]) -> bool:
    """Whether values have three rows as those of ``text_bert``: ids, a mask of 0 and 1, and types of 0 and 1."""
    return x.ndim == 2 and len(x) == 3 and x.shape[1] > 1 and bool(np.isin(x[1:], (0, 1)).all())


def _rows(value: Any) -> Iterator[NDArray[Any] | None]:
    """The numbers of each sample that has some; None for one that holds anything else."""
    if (
        not isinstance(value, list | tuple | np.ndarray)
        or np.ndim(np.empty(1) if isinstance(value, list | tuple) else value) == 0
    ):
        return
    for x in value:
        if x is None or (isinstance(x, float | np.floating) and np.isnan(x)):
            continue
        try:
            row = np.atleast_1d(np.asarray(x))
        except ValueError:  # rows of different lengths
            row = np.empty(1, object)
        yield row if row.dtype.kind in "iuf" or not row.size else None
        if row.dtype.kind == "f" and row.size and not (row == np.floor(row)).all():
            return  # features, as most are: the rest needn't be examined
