"""The field ``text_bert``: token ids, attention mask and token types of each text, ``(N, 3, T)``.

If a file has no lengths, the mask gives the lengths of texts. Valid ids are kept next to the features, for language
encoders that are trained (`imder.models.language.encoder`). Token types are not kept: they are 0 in single texts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.formats.raw import Raw
from imder.data.split import Ragged

FIELD = "text_bert"


def read_tokens(raw: Raw, ids: tuple[str, ...], present: NDArray[np.bool_] | None) -> Ragged | None:
    """The ids of each text's valid tokens, ``(T, 1)`` int64; None if the file has no such field.

    Args:
        raw: the fields of a split.
        ids: the ids of its samples.
        present: ``(N,)``, whether a sample has the language modality; the others get no tokens. None if all have it.

    Raises:
        ImderError: the id of a valid token is not a whole number of at least 0.
    """
    table = _table(raw, len(ids))
    if table is None:
        return None
    valid = table[:, 1] > 0
    if present is not None:
        valid &= present[:, None]
    for row, column in np.argwhere(valid & ~((table[:, 0] >= 0) & (table[:, 0] == np.floor(table[:, 0])))):
        raise raw.fault(FIELD, f"{table[row, 0, column]:g} is not a token id", ids[row])
    values = table[:, 0][valid].astype(np.int64)[:, None]
    return Ragged(values, np.concatenate([[0], np.cumsum(valid.sum(axis=1))]).astype(np.int64))


def attended(raw: Raw, frames: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """The frames of each text by the attention mask: starts ``(N,)`` and stops ``(N,)``.

    None if there is no mask, or its T isn't that of the features, whose ``frames`` are ``(N,)``.
    """
    table = _table(raw, len(frames))
    if table is None or not ((frames == table.shape[2]) | (frames == 0)).all():
        return None
    on = (table[:, 1] > 0) & (frames > 0)[:, None]
    some = on.any(axis=1)
    starts = np.where(some, on.argmax(axis=1), 0)
    stops = np.where(some, table.shape[2] - on[:, ::-1].argmax(axis=1), 0)
    return starts.astype(np.int64), stops.astype(np.int64)


def _table(raw: Raw, n: int) -> NDArray[np.float64] | None:
    """The field as ``(N, 3, T)``; None if it is missing or of another shape."""
    value: Any = raw.column(FIELD, n)
    if value is None:
        return None
    try:
        table = np.asarray(value, np.float64)  # exact for every id
    except (TypeError, ValueError, OverflowError):
        return None
    return table if table.ndim == 3 and table.shape[1] == 3 else None
