"""Names of fields, and ids, dialogues and marks of one split."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from imder.data.formats.raw import Raw

RENAMED = {"text": "language", "video": "vision"}
FIRST = ("language", "vision", "audio")
OTHER = frozenset({"raw_text", "text_bert", "id", "annotations", "class_names", "dialogue", "position", "speaker"})
SUFFIXES = ("_lengths", "_present", "_filled")
"""Endings of the fields that go with a modality's features."""
USUAL = frozenset({"text", "language", "video", "vision", "audio"})
"""Fields that hold features whatever their type."""
_PURPOSES = {
    "labels": "y gt target emotion sentiment annotation class valence arousal dominance",
    "lengths": "len length seqlen",
    "marks": "mask id idx index indice interval segment span start begin end stop offset time timestamp duration",
}


def is_usual(raw: Raw, field: str) -> bool:
    """Whether a field holds features by its name, or by a field of lengths or presence that belongs to it."""
    return field in USUAL or any(f"{field}{suffix}" in raw.fields for suffix in SUFFIXES)


def purpose(field: str) -> str:
    """What a field holds by the last word of its name: "labels", "lengths", "marks" such as masks and ids, or "".

    >>> [purpose(name) for name in ("emotions", "audio_len", "attention_mask", "token_type_ids", "emotion2vec")]
    ['labels', 'lengths', 'marks', 'marks', '']
    """
    word = re.split(r"[\W_]+|(?<=[a-z])(?=[A-Z])", field)[-1].lower()
    for kind, words in _PURPOSES.items():
        if {word, word.removesuffix("s"), word.removesuffix("es")} & set(words.split()):
            return kind
    return "labels" if "label" in field.lower() else ""


_CLIP = re.compile(r"(.+)\$_\$(\d+)", re.DOTALL)


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
        given = np.where(np.isnan(given) & np.array([not name for name in dialogue], bool), 0, given)
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


def marks(raw: Raw, key: str, ids: tuple[str, ...]) -> NDArray[np.bool_] | None:
    """A field of True or False for each sample."""
    given = raw.numbers(key, ids)
    for i in () if given is None else np.flatnonzero((given != 0) & (given != 1)):
        raise raw.fault(key, f"{given[i]:g} is neither true nor false", ids[i])  # type: ignore[index]
    return None if given is None else given == 1


def read_filled(raw: Raw, fields: Mapping[str, str], ids: tuple[str, ...]) -> dict[str, NDArray[np.bool_]]:
    """For each modality with a field ``<modality>_filled``: which samples `imder.impute` filled, ``(N,)`` bool.

    Args:
        raw: the fields of a split.
        fields: for each modality the field of its features.
        ids: the ids of the samples.
    """
    filled = {}
    for name, field in fields.items():
        for key in dict.fromkeys((f"{field}_filled", f"{name}_filled")):
            flags = marks(raw, key, ids)
            if flags is not None:
                filled[name] = flags
    return filled
