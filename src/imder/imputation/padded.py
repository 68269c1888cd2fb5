"""Sequences as padded arrays, lists and vectors, with the values of a file where it holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Ragged

Rows = NDArray[np.bool_]


def padded(ragged: Ragged, frames: int) -> NDArray[Any]:
    """``(N, frames, D)``, zeros beyond each sequence."""
    out = np.zeros((len(ragged), frames, ragged.dim), ragged.values.dtype)
    out[np.arange(frames) < ragged.lengths[:, None]] = ragged.values[ragged.offsets[0] : ragged.offsets[-1]]
    return out


def vectors(ragged: Ragged, given: NDArray[Any] | None, drawn: Rows) -> NDArray[Any]:
    """``(N, D)`` from sequences of one frame; those of ``given`` (N, D) where they weren't drawn."""
    made = padded(ragged, 1)[:, 0]
    if given is None or given.shape != made.shape:
        return made
    out = made.astype(_type(given.dtype, made[drawn]))
    out[~drawn] = _finite(given[~drawn], ragged)
    return out


def of_list(ragged: Ragged, given: Sequence[Any], drawn: Rows) -> list[NDArray[Any]]:
    """N arrays ``(T_i, D)``, or ``(D,)`` where the file has such; those of ``given`` where they weren't drawn."""
    is_vector = all(x is None or np.ndim(x) == 1 for x in given) and int(ragged.lengths.max(initial=1)) == 1
    out = []
    for i, is_drawn in enumerate(drawn):
        own = np.array(ragged[i])
        old = None if is_drawn else np.asarray(given[i])
        x = own if old is None or np.atleast_2d(old).shape != own.shape else _finite(np.atleast_2d(old), ragged)
        out.append(x[0] if is_vector else x)
    return out


def of_array(ragged: Ragged, given: NDArray[Any], drawn: Rows) -> NDArray[Any] | None:
    """``(N, T, D)``: ``given`` with the sequences that were drawn, on the side where the others are.

    T is that of the array, or more where a draw is longer. None where the others are on neither side.
    """
    frames, kept = given.shape[1], ~drawn
    old = _finite(given[kept], ragged)
    own = ragged.take(np.flatnonzero(kept))
    for at_end in (False, True):
        valid = _valid(own.lengths, frames, at_end)
        if (own.lengths <= frames).all() and np.array_equal(_as_read(old[valid], ragged), own.values):
            break
    else:
        return None
    longest = max(frames, int(ragged.lengths.max(initial=0)))
    new = ragged.take(np.flatnonzero(drawn))
    out = np.zeros((len(ragged), longest, ragged.dim), _type(given.dtype, new.values))
    out[kept, longest - frames if at_end else 0 : longest if at_end else frames] = old
    part = out[drawn]
    part[_valid(new.lengths, longest, at_end)] = new.values
    out[drawn] = part
    return out


def _valid(lengths: NDArray[np.int64], frames: int, at_end: bool) -> NDArray[np.bool_]:
    steps = np.arange(frames)
    return np.asarray(steps >= frames - lengths[:, None] if at_end else steps < lengths[:, None])


def _as_read(values: NDArray[Any], ragged: Ragged) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        return values.astype(ragged.values.dtype)


def _finite(values: NDArray[Any], ragged: Ragged) -> NDArray[Any]:
    """The values of a file, 0 for those that aren't finite when they are read."""
    return np.where(np.isfinite(_as_read(values, ragged)), values, values.dtype.type(0))


def _type(given: np.dtype[Any], values: NDArray[Any]) -> np.dtype[Any]:
    """The type of an array of the file that also holds the drawn values: whole numbers stay such if all are whole."""
    if given.kind == "f":
        return given
    if given.kind == "b":
        fits = np.isin(values, (0, 1)).all()
    else:
        limits = np.iinfo(given)
        fits = ((values == np.floor(values)) & (values >= limits.min) & (values <= limits.max)).all()
    return given if fits else values.dtype
