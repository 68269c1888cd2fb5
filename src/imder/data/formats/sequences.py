"""The features of one split.

Features are recognised by their shape and all other fields by their name, so modalities may have any names and number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.formats.fields import FIRST, OTHER, RENAMED, SUFFIXES, is_usual, purpose
from imder.data.formats.padding import Sequences
from imder.data.formats.raw import Raw
from imder.types import ImderError

NUMBERS = "fiub"
NEEDED = "an array (N, T, D) or (N, D), or a list of N arrays (T_i, D), is needed"


def find_sequences(raw: Raw) -> dict[str, tuple[str, Sequences]]:
    """The modalities of a split: for each name (language, vision, audio first) its field and its features.

    Features are an array ``(N, T, D)`` or ``(N, D)`` (one frame), or a list of N arrays ``(T_i, D)`` or ``(D,)``; further
    axes of length 1 are dropped. Under the usual names, and where ``<field>_lengths`` or ``<field>_present`` is there,
    they may be whole numbers or booleans, otherwise they are floats. Fields that by their name hold labels, lengths, masks,
    times or ids are never features, nor are the token ids of texts.

    Raises:
        ImderError: no field holds features, two fields are one modality, a field that must hold features has another
            shape, or the sequences of a list differ in width.
    """
    modalities: dict[str, tuple[str, Sequences]] = {}
    for field, value in raw.fields.items():
        usual = is_usual(raw, field)
        if field in OTHER or field in raw.token_ids or field.endswith(SUFFIXES) or (purpose(field) and not usual):
            continue
        sequences = sequences_of(raw, field, value, usual=usual)
        if sequences is None:
            continue
        shape = sequences.shape if isinstance(sequences, np.ndarray) else sequences[0].shape if sequences else (1,)
        if not shape[-1]:
            raise raw.fault(field, "has no features, only frames")
        name = RENAMED.get(field, field)
        if name in modalities:
            raise raw.fault(field, f"is {name}, and so is the field {modalities[name][0]!r}")
        modalities[name] = (field, sequences)
    if not modalities:
        raise ImderError(f"{raw.where}: no field holds features; it has {', '.join(raw.fields) or 'none'}")
    order = (*(n for n in FIRST if n in modalities), *(n for n in modalities if n not in FIRST))
    return {name: modalities[name] for name in order}


def sequences_of(raw: Raw, field: str, value: Any, *, usual: bool) -> Sequences | None:
    """The features in a field, or None if it holds something else.

    Args:
        raw: the fields of a split.
        field: the name of one.
        value: what it holds.
        usual: whether the name alone says that they are features, which then may be whole numbers or booleans.

    Raises:
        ImderError: they must be features and have another shape, or differ in width.
    """
    if isinstance(value, np.ndarray) and value.dtype != object:
        return _from_array(raw, field, value, usual)
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0):
        return _from_list(raw, field, value, usual)
    return None


def _from_array(raw: Raw, field: str, value: NDArray[Any], usual: bool) -> NDArray[Any] | None:
    if value.dtype.kind not in (NUMBERS if usual else "f") or value.ndim == 0:
        return None
    array = _squeezed(value, 3)
    if array.ndim not in (2, 3):
        if usual:
            raise raw.fault(field, f"{NEEDED}; found the shape {value.shape}")
        return None
    array = array if array.ndim == 3 else array[:, None]
    return array if array.dtype.kind == "f" else array.astype(np.float32)


def _from_list(raw: Raw, field: str, value: Sequence[Any] | NDArray[Any], usual: bool) -> list[NDArray[Any]] | None:
    parts = [_part(x) for x in value]
    filled = [p for p in parts if p is not None and p.size]
    if not filled:
        if usual and any(_is_number(x) for x in value):
            raise raw.fault(field, f"{NEEDED}; found a number for each sample")
        return None
    if not (usual or any(p.dtype.kind == "f" for p in filled)):
        return None
    some = filled[0]
    sequences: list[NDArray[Any]] = []
    for i, p in enumerate(parts):
        p = sample_of(raw, field, value, i) if p is None else p
        if p.size and p.shape[1] != some.shape[1]:
            raise raw.fault(field, f"{p.shape[1]} features where others have {some.shape[1]}", _id_at(raw, i))
        x = p if p.size else some[:0]
        sequences.append(x if x.dtype.kind == "f" else x.astype(np.float32))
    return sequences


def sample_of(raw: Raw, field: str, value: Sequence[Any] | NDArray[Any], row: int) -> NDArray[Any]:
    """One sample's features ``(T, D)`` in the list of a field; without any frame if it has none.

    Raises:
        ImderError: it can't be features.
    """
    x = value[row]
    part = _part(x)
    if part is None:
        kind = f"an array of {x.dtype} and shape {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise raw.fault(field, f"an array (T, D) or (D,) of numbers is needed, got {kind}", _id_at(raw, row))
    return part


def _part(x: Any) -> NDArray[Any] | None:
    """One sample's features ``(T, D)``; ``(0, 0)`` if it has none; None if ``x`` can't be features."""
    none = np.zeros((0, 0), np.float32)
    if x is None or (isinstance(x, float | np.floating) and np.isnan(x)):
        return none
    if not isinstance(x, list | tuple | np.ndarray):
        return None
    try:
        part = np.asarray(x)
        if part.dtype == object:
            part = part.astype(np.float32)
    except (TypeError, ValueError, OverflowError):
        return None
    if part.dtype.kind not in NUMBERS:
        return None
    if part.ndim == 0:
        return none if np.isnan(part) else None
    if not part.size:
        return none if part.ndim <= 2 else None
    part = _squeezed(part[None], 3)[0]
    return part[None] if part.ndim == 1 else part if part.ndim == 2 else None


def _squeezed(x: NDArray[Any], ndim: int) -> NDArray[Any]:
    """The array without axes of length 1, the last axis last, until it has ``ndim`` axes; the first axis stays."""
    for axis in (*range(x.ndim - 2, 0, -1), -1):
        if x.ndim > ndim and x.shape[axis] == 1:
            x = x.squeeze(axis)
    return x


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float | np.number) and not (isinstance(x, float) and np.isnan(x))


def _id_at(raw: Raw, row: int) -> str:
    ids = raw.fields.get("id")
    has_id = isinstance(ids, list | tuple | np.ndarray) and np.ndim(ids) == 1 and len(ids) > row
    return (raw.strings("id", len(ids)) or ())[row] if has_id and ids is not None else f"{raw.split}-{row}"
