"""Features, ids and dialogues of one split, from the fields of a file.

Features are recognised by their shape and all other fields by their name, so modalities may have any names and number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.formats.raw import Raw
from imder.data.formats.tokens import attended
from imder.data.split import Ragged
from imder.types import ImderError

RENAMED = {"text": "language", "video": "vision"}
FIRST = ("language", "vision", "audio")
OTHER = frozenset({"raw_text", "text_bert", "id", "annotations", "class_names", "dialogue", "position", "speaker"})
SUFFIXES = ("_lengths", "_present", "_filled")
"""Endings of the fields that go with a modality's features."""
_CLIP = re.compile(r"(.+)\$_\$(\d+)", re.DOTALL)

Sequences = NDArray[Any] | list[NDArray[Any]]
"""An array ``(N, T, D)``, or N arrays ``(T_i, D)``."""


def find_sequences(raw: Raw) -> dict[str, tuple[str, Sequences]]:
    """The modalities of a split: for each name (language, vision, audio first) its field and its features.

    Features are floats: an array ``(N, T, D)`` or ``(N, D)`` (one frame), or a list of N arrays ``(T_i, D)`` or
    ``(D,)``. Fields whose name contains "label" are never features.

    Raises:
        ImderError: no field holds features, two fields are one modality, or the sequences of a list differ in width.
    """
    modalities: dict[str, tuple[str, Sequences]] = {}
    for field, value in raw.fields.items():
        if field in OTHER or field.endswith(SUFFIXES) or "label" in field:
            continue
        sequences = _sequences(raw, field, value)
        if sequences is None:
            continue
        if len(sequences) and not sequences[0].shape[-1]:
            raise raw.fault(field, "has no features, only frames")
        name = RENAMED.get(field, field)
        if name in modalities:
            raise raw.fault(field, f"is {name}, and so is the field {modalities[name][0]!r}")
        modalities[name] = (field, sequences)
    if not modalities:
        raise ImderError(f"{raw.where}: no field holds features; it has {', '.join(raw.fields) or 'none'}")
    order = (*(n for n in FIRST if n in modalities), *(n for n in modalities if n not in FIRST))
    return {name: modalities[name] for name in order}


def _sequences(raw: Raw, field: str, value: Any) -> Sequences | None:
    """The features in a field, or None if it holds something else."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        if value.dtype.kind != "f" or value.ndim not in (2, 3):
            return None
        return value if value.ndim == 3 else value[:, None]
    if not isinstance(value, (list, tuple, np.ndarray)) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return None
    parts: list[NDArray[Any]] = []
    for i, x in enumerate(value):
        part = _part(x)
        if part is None:
            if not any(p.size for p in parts):
                return None
            raise raw.fault(field, "is not a (frames, features) array of numbers", _id_at(raw, i))
        parts.append(part)
    if not any(p.dtype.kind == "f" and p.size for p in parts):
        return None
    some = next(p for p in parts if p.size)
    for i, p in enumerate(parts):
        if p.shape[1] not in (0, some.shape[1]):
            raise raw.fault(field, f"{p.shape[1]} features where others have {some.shape[1]}", _id_at(raw, i))
    return [p if p.size else some[:0] for p in parts]


def _part(x: Any) -> NDArray[Any] | None:
    """One sample's features ``(T, D)``; ``(0, 0)`` if it has none; None if ``x`` can't be features."""
    if x is None:
        return np.zeros((0, 0), np.float32)
    if not isinstance(x, (list, tuple, np.ndarray)):
        return None
    try:
        part = np.asarray(x)
        if part.dtype == object:
            part = part.astype(np.float32)
    except (TypeError, ValueError, OverflowError):
        return None
    if part.dtype.kind not in "fiu" or part.ndim not in (1, 2):
        return None
    return part[None] if part.ndim == 1 and part.size else part if part.ndim == 2 else np.zeros((0, 0), np.float32)


def _id_at(raw: Raw, row: int) -> str:
    ids = raw.fields.get("id")
    has_id = isinstance(ids, (list, tuple, np.ndarray)) and np.ndim(ids) == 1 and len(ids) > row
    return (raw.strings("id", len(ids)) or ())[row] if has_id and ids is not None else f"{raw.split}-{row}"


def read_ids(raw: Raw, n: int) -> tuple[str, ...]:
    """The ids of n samples; ``<split>-<row>`` if the file has none.

    Raises:
        ImderError: an id repeats.
    """
    ids = raw.strings("id", n) or tuple(f"{raw.split}-{i}" for i in range(n))
    first_row: dict[str, int] = {}
    for i, name in enumerate(ids):
        if name in first_row:
            raise raw.fault("id", f"rows {first_row[name]} and {i} have the same id", name)
        first_row[name] = i
    return ids


def read_dialogues(raw: Raw, ids: tuple[str, ...]) -> tuple[tuple[str, ...] | None, NDArray[np.int64] | None]:
    """Dialogue and position of each sample, from the fields of these names or from ids of the form ``<video>$_$<clip>``.

    If some ids have that form, each of the others is its own dialogue; if none has, both are None.
    """
    dialogue = raw.strings("dialogue", len(ids))
    given = raw.numbers("position", ids)
    if given is not None and dialogue is not None:
        given = np.where(np.isnan(given) & [not clips for clips in dialogue], 0, given)
    for value, name in zip(() if given is None else given, ids):
        if np.isnan(value):
            advice = (
                "" if dialogue is None else "; give it one, or leave its dialogue empty: it is then predicted alone"
            )
            raise raw.fault("position", f"the clip has none{advice}", name)
        if not abs(value) < 2**53:
            raise raw.fault("position", f"{value:g} is too large; number the clips of a dialogue from 0", name)
        if value != int(value):
            raise raw.fault("position", f"{value:g} is not a whole number", name)
    position = None if given is None else given.astype(np.int64)
    clips = [_CLIP.fullmatch(name) for name in ids]
    if dialogue is None and any(clips):
        dialogue = tuple(clip[1] if clip else name for clip, name in zip(clips, ids))
        if position is None:
            position = np.array([int(clip[2]) if clip else 0 for clip in clips], np.int64)
    return dialogue, position


def read_features(
    raw: Raw, modalities: Mapping[str, tuple[str, Sequences]], ids: tuple[str, ...]
) -> tuple[dict[str, Ragged], dict[str, int]]:
    """The valid frames of each modality, and the number of their values that were not finite and became 0.

    float16 stays float16; every other type becomes float32, where values that overflow count as not finite.

    Raises:
        ImderError: rows, lengths or presence don't fit the features.
    """
    features: dict[str, Ragged] = {}
    nonfinite: dict[str, int] = {}
    for name, (field, sequences) in modalities.items():
        if len(sequences) != len(ids):
            first = next(iter(modalities.values()))[0]
            raise raw.fault(field, f"{len(sequences)} rows where {first} has {len(ids)}")
        lengths = _valid(raw, name, field, sequences, ids)
        if isinstance(sequences, list):
            ragged = Ragged.from_list([s[:t] for s, t in zip(sequences, lengths)], sequences[0].shape[1])
            values = ragged.values
        elif (lengths == sequences.shape[1]).all():
            values = sequences.reshape(-1, sequences.shape[2])
        else:
            values = sequences[np.arange(sequences.shape[1]) < lengths[:, None]]
        with np.errstate(over="ignore"):
            values = values.astype(np.float16 if values.dtype.itemsize == 2 else np.float32, copy=False)
        bad = ~np.isfinite(values)
        nonfinite[name] = int(bad.sum())
        if nonfinite[name]:
            values = np.where(bad, values.dtype.type(0), values)
        features[name] = Ragged(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    return features, nonfinite


def _valid(raw: Raw, name: str, field: str, sequences: Sequences, ids: tuple[str, ...]) -> NDArray[np.int64]:
    """Number of valid frames of each sample, ``(N,)``; 0 where the modality is marked absent."""
    n = len(ids)
    if isinstance(sequences, list):
        frames = np.array([len(s) for s in sequences], np.int64)
    else:
        frames = np.full(n, sequences.shape[1], np.int64)
    lengths = frames.copy()
    present = np.ones(n, bool)
    for key in dict.fromkeys((f"{field}_present", f"{name}_present")):
        marks = _marks(raw, key, ids)
        present &= True if marks is None else marks
    has_lengths = False
    for key in dict.fromkeys((f"{field}_lengths", f"{name}_lengths")):
        given = raw.numbers(key, ids)
        if given is None:
            continue
        fits = (given >= 0) & (given <= frames) & (given == np.floor(given))
        for i in np.flatnonzero(present & ~fits):
            raise raw.fault(key, f"the length {given[i]:g} lies outside [0, {frames[i]}]", ids[i])
        lengths, has_lengths = np.where(fits, given, 0).astype(np.int64), True
    if name == "language" and not has_lengths:
        lengths = attended(raw, frames)
    return np.where(present, lengths, 0)


def _marks(raw: Raw, key: str, ids: tuple[str, ...]) -> NDArray[np.bool_] | None:
    """A field of True or False for each sample."""
    marks = raw.numbers(key, ids)
    for i in () if marks is None else np.flatnonzero((marks != 0) & (marks != 1)):
        raise raw.fault(key, f"{marks[i]:g} is neither true nor false", ids[i])  # type: ignore[index]
    return None if marks is None else marks == 1


def read_filled(
    raw: Raw, modalities: Mapping[str, tuple[str, Sequences]], ids: tuple[str, ...]
) -> dict[str, NDArray[np.bool_]]:
    """For each modality with a field ``<modality>_filled``: which samples `imder.impute` filled, ``(N,)`` bool."""
    filled = {}
    for name, (field, _) in modalities.items():
        for key in dict.fromkeys((f"{field}_filled", f"{name}_filled")):
            marks = _marks(raw, key, ids)
            if marks is not None:
                filled[name] = marks
    return filled
