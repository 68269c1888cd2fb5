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


def with_token_fields(raws: Sequence[Raw]) -> list[Raw]:
    """The splits of a corpus, told which of their fields are token ids (`Raw.token_ids`).

    They are whole numbers, one for each token (or tables ``(3, T)`` like those of ``text_bert``), and in some split as large as
    those of a vocabulary.

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
    if any(x is None or x.dtype.kind not in "iu" or not _is_line(x) or x.min() < 0 for x in lines):
        return False
    return max((int(x.max()) for x in lines if x is not None), default=0) >= _SMALLEST_VOCABULARY


def _is_line(x: NDArray[Any]) -> bool:
    """Whether numbers are one for each token: in one row or column, or in the first of three rows, over a mask and types."""
    is_table = x.ndim == 2 and len(x) == 3 and x.shape[1] > 1 and bool((x[1:] <= 1).all())
    return is_table or x.size == max(x.shape)


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
        yield row if row.dtype.kind in "iu" or not row.size else None
