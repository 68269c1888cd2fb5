"""A split as the fields of a feature file, which `imder.load_corpus` reads back equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Ragged, Split
from imder.data.formats.assemble import FieldShape
from imder.data.formats.labels import FIELDS
from imder.types import Spec

NAMES = {"language": "text"}
"""Fields of modalities in the field's files, where they differ from the modality's name."""


def fields_of(split: Split, spec: Spec, shapes: Mapping[str, FieldShape]) -> dict[str, Any]:
    """The fields of a split: arrays, texts as arrays of strings.

    Args:
        split: without missing modalities.
        spec: of the corpus: its longest sequences, task and classes.
        shapes: field names and numbers of frames as in the file given. A modality without any has the field's name and
            the longest length, or ``(N, D)`` where it is a single vector.
    """
    fields: dict[str, Any] = {"id": np.array(split.ids)}
    for key, values in {"raw_text": split.texts, "dialogue": split.dialogue, "speaker": split.speaker}.items():
        if values is not None:
            fields[key] = np.array(values)
    if split.position is not None:
        fields["position"] = split.position
    for modality in spec.modalities:
        name, ragged = modality.name, split.features[modality.name]
        default = FieldShape(NAMES.get(name, name), modality.length if modality.length > 1 else None)
        shape = shapes.get(name, default)
        longest = int(ragged.lengths.max(initial=1))
        if shape.frames is None and longest == 1:
            fields[shape.field] = _padded(ragged, 1)[:, 0]
        else:
            fields[shape.field] = _padded(ragged, max(longest, shape.frames or 0))
            fields[f"{shape.field}_lengths"] = ragged.lengths
        if name in split.filled:
            fields[f"{shape.field}_filled"] = split.filled[name]
    if split.labels is not None:
        fields[FIELDS["classification" if split.labels.dtype.kind != "f" else "regression"]] = split.labels
    if spec.task == "classification":
        fields["class_names"] = np.array(spec.classes)
    if split.tokens is not None:
        fields["text_bert"] = _tokens(split.tokens)
    return fields


def _padded(ragged: Ragged, frames: int) -> NDArray[Any]:
    """``(N, frames, D)``, zeros beyond each sequence."""
    out = np.zeros((len(ragged), frames, ragged.dim), ragged.values.dtype)
    out[np.arange(frames) < ragged.lengths[:, None]] = ragged.values[ragged.offsets[0] : ragged.offsets[-1]]
    return out


def _tokens(tokens: Ragged) -> NDArray[np.int64]:
    """``(N, 3, T)``: ids, attention mask, token types."""
    ids = _padded(tokens, max(1, int(tokens.lengths.max(initial=1))))[:, :, 0]
    mask = np.arange(ids.shape[1]) < tokens.lengths[:, None]
    return np.stack([ids, mask.astype(np.int64), np.zeros_like(ids)], axis=1)
