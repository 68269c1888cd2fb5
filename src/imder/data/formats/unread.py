"""Fields of a file that look like labels or features and are not read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from imder.data.formats.fields import OTHER, RENAMED, SUFFIXES, is_usual, purpose
from imder.data.formats.labels import FIELDS
from imder.data.formats.raw import Raw
from imder.data.formats.token_fields import TOKEN_IDS

LABEL_NAMES = ("target", "emotion", "sentiment", "class", "annotation")
EXACT_LABEL_NAMES = ("y", "gt", "valence", "arousal")
_FLOATS = "features are floats (N, T, D) or (N, D)"
_RENAME = "by its name it holds {}, not features; if it holds features, rename it"


def unread_fields(raw: Raw, features: Collection[str]) -> tuple[str, ...]:
    """A remark on each unread field that looks like labels or features.

    Args:
        raw: the fields of a split.
        features: the fields that were read as features.

    >>> unread_fields(Raw("a.npz", "all", {"audio": np.ones((2, 3)), "emotion": np.ones(2)}), {"audio"})
    ("field 'emotion' is not read; did you mean regression_labels or classification_labels?",)
    """
    labels = FIELDS.values()
    has_labels = any(raw.fields.get(field) is not None for field in labels)
    question = "" if has_labels else f"; did you mean {' or '.join(labels)}?"
    modalities = {RENAMED.get(field, field) for field in features} | set(features)
    remarks = []
    for field, value in raw.fields.items():
        reason = None
        if field in features or field in labels or field in OTHER or field == "label_names":
            continue
        if field.endswith(SUFFIXES):
            reason = None if field.rpartition("_")[0] in modalities else ": it belongs to no modality"
        elif field in raw.token_ids:
            reason = f": {TOKEN_IDS}"
        elif is_usual(raw, field):
            reason = f": {_content(value)}"
        elif _is_like_labels(field):
            reason = _shape(value) or question
        elif (kind := purpose(field)) == "lengths":
            owner = next((m for m in modalities if m in field.lower()), "MODALITY")
            reason = f"; did you mean {owner}_lengths?"
        elif kind and _is_table(value):
            reason = f": {_RENAME.format('labels' if kind == 'labels' else 'masks, times or ids')}"
        elif isinstance(value, Mapping) or _is_table(value):
            reason = f": {_content(value)}"
        if reason is not None:
            remarks.append(f"field {field!r} is not read{reason}")
    return tuple(remarks)


def _shape(value: Any) -> str:
    """Why a value holds no labels, where its shape tells."""
    if not isinstance(value, np.ndarray) or value.dtype == object or value.size == len(np.atleast_1d(value)):
        return ""
    return (
        f": it has the shape {value.shape} where one label for each sample is needed; of one-hot rows take the argmax"
    )


def _content(value: Any) -> str:
    """Why a value holds no features, for a field that might."""
    if isinstance(value, Mapping):
        return "it is a dict"
    if isinstance(value, np.ndarray) and value.dtype.kind not in "OUS":
        return f"{_FLOATS}, it is {value.dtype} of shape {value.shape}"
    if not isinstance(value, list | tuple | np.ndarray):
        return f"it is {type(value).__name__}"
    rows = [x for x in np.ravel(value) if x is not None] if isinstance(value, np.ndarray) else list(value)
    if any(isinstance(x, str | bytes) for x in rows):
        return "it holds strings, not features"
    sizes = [np.size(x) for x in rows if isinstance(x, list | tuple | np.ndarray)]
    if not any(sizes):
        return "no sample has features"
    return f"{_FLOATS}, or lists of arrays of floats"


def _is_table(value: Any) -> bool:
    """Whether a value has several numbers for each sample, as features have."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.ndim > 1 and value.dtype.kind in "fiubc"
    if (
        not isinstance(value, list | tuple | np.ndarray)
        or np.ndim(np.empty(0) if isinstance(value, list | tuple) else value) == 0
    ):
        return False
    arrays = [x for x in value if isinstance(x, np.ndarray) and x.ndim > 0 and x.size]
    return bool(arrays) and all(x.dtype.kind in "fiub" for x in arrays) and any(x.ndim > 1 for x in arrays)


def _is_like_labels(field: str) -> bool:
    name = field.lower()
    return "label" in name or name in EXACT_LABEL_NAMES or any(word in name for word in LABEL_NAMES)
