"""Fields of a file that look like labels or features and are not read."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from imder.data.formats.fields import OTHER, RENAMED, SUFFIXES
from imder.data.formats.labels import FIELDS
from imder.data.formats.raw import Raw

LABEL_NAMES = ("target", "emotion", "sentiment", "class", "annotation")
EXACT_LABEL_NAMES = ("y", "gt", "valence", "arousal")


def unread_fields(raw: Raw, features: Collection[str]) -> tuple[str, ...]:
    """A remark on each unread field that looks like labels or features.

    Args:
        raw: the fields of a split.
        features: the fields that were read as features.

    >>> unread_fields(Raw("a.npz", "all", {"audio": np.ones((2, 3)), "labels": np.ones(2)}), {"audio"})
    ("field 'labels' is not read; did you mean regression_labels or classification_labels?",)
    """
    labels = FIELDS.values()
    has_labels = any(raw.fields.get(field) is not None for field in labels)
    question = "" if has_labels else f"; did you mean {' or '.join(labels)}?"
    modalities = {RENAMED.get(field, field) for field in features} | set(features)
    remarks = []
    for field, value in raw.fields.items():
        if field in features or field in labels or field in OTHER or field == "label_names":
            continue
        if field.endswith(SUFFIXES):
            if field.rpartition("_")[0] not in modalities:
                remarks.append(f"field {field!r} is not read: it belongs to no modality")
        elif _is_like_labels(field):
            remarks.append(f"field {field!r} is not read{question}")
        elif np.ndim(value) > 1 if isinstance(value, np.ndarray) else False:
            kind = f"{value.dtype} of shape {value.shape}"
            remarks.append(f"field {field!r} is not read: features are floats (N, T, D) or (N, D), it is {kind}")
    return tuple(remarks)


def _is_like_labels(field: str) -> bool:
    name = field.lower()
    return "label" in name or name in EXACT_LABEL_NAMES or any(word in name for word in LABEL_NAMES)
