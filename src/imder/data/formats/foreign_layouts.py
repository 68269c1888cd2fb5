"""Layouts of pickles in the field that aren't read: their names, and how to convert them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from imder.data.formats.fields import OTHER, USUAL
from imder.data.split_names import split_named

_LOOKED_AT = 20
_DATASET = "imder.Corpus.from_dataset takes dicts such as {'language': ..., 'vision': ..., 'audio': ..., 'label': ...}"
_TUPLES = (
    "samples are lists or tuples, as in the files of MAG-BERT and MulT's raw data ((words, vision, audio), label, segment), "
    f"which don't say what is what; {_DATASET}: one for each sample"
)
_BY_ID = f"samples are dicts by id; {_DATASET}: give it the values, with the key as 'id'"
_BY_FIELD = (
    "each field is a dict by id, as computational sequences of the CMU Multimodal SDK are; "
    f"{_DATASET}: one for each id that the fields share"
)
_SPLITS_INSIDE = "fields hold splits; a dict of splits with their fields is needed: {'train': {'text': ..., ...}, ...}"
_DIALOGUES = (
    "a list of dicts by dialogue, as in the files of DialogueRNN and MMGCN; "
    f"{_DATASET}, here with 'dialogue' and 'position' too: one for each utterance"
)


def foreign_layout(data: Any) -> str:
    """The layout of what a pickle holds and how to convert it, as the end of a sentence.

    Args:
        data: any content but a dict of splits or fields.
    """
    if isinstance(data, list | tuple):
        some = list(islice(data, _LOOKED_AT))
        if some and all(isinstance(x, Mapping) for x in some):
            if _is_sample(some[0]):
                return f"found a list of samples; {_DATASET}: give it the list"
            return f"found {_DIALOGUES}"
        if any(isinstance(x, list | tuple | np.ndarray) for x in some):
            return f"found a {type(data).__name__} in which {_TUPLES}" if _are_tuples(some) else f"found {_DIALOGUES}"
    return f"found {type(data).__name__}"


def foreign_splits(data: Mapping[str, Any]) -> str:
    """The layout of a dict that is none of splits or fields; empty where it has none that is known."""
    if any(split_named(key) for key in data):
        return _TUPLES if all(_are_tuples(x) for key, x in data.items() if split_named(key)) else ""
    inner = [x for x in islice(data.values(), _LOOKED_AT) if isinstance(x, Mapping)]
    if inner and all(x and all(split_named(str(key)) for key in x) for x in inner):
        return _SPLITS_INSIDE
    if inner and all(_is_sample(x) for x in inner):
        return _BY_ID
    shared = set(map(str, inner[0])) & set(map(str, inner[1])) if len(inner) > 1 else set()
    if shared and not shared & (USUAL | OTHER):
        return _BY_FIELD
    return ""


def _are_tuples(samples: Any) -> bool:
    """Whether these are samples of which each is a list or a tuple of different things."""
    if not isinstance(samples, list | tuple) or not samples:
        return False
    some: Sequence[Any] = samples[:_LOOKED_AT]
    return all(
        isinstance(x, list | tuple) and any(isinstance(part, list | tuple | np.ndarray) for part in x) for x in some
    )


def _is_sample(x: Mapping[Any, Any]) -> bool:
    """Whether a dict holds one sample: some value is a text or a number, or its label is one."""
    singles = (isinstance(v, str | bytes | int | float | np.number) for v in x.values())
    return any(singles) or any("label" in str(key).lower() and _size(v) == 1 for key, v in x.items())


def _size(x: Any) -> int:
    return x.size if isinstance(x, np.ndarray) else len(x) if isinstance(x, list | tuple) else 0
