"""A split as the fields of a feature file, which `imder.load_corpus` reads back equal.

Where the samples come from a file, they are written as it holds them: the names and types of fields, the frames of padded
arrays and the side of their padding, lists of arrays, and every field that imder doesn't read. Only what was drawn changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Ragged, Split
from imder.data.formats.fields import SUFFIXES
from imder.data.formats.file_fields import FieldShape, FileFields
from imder.data.formats.labels import FIELDS
from imder.data.formats.tokens import FIELD as TOKENS
from imder.imputation.padded import of_array, of_list, padded, vectors
from imder.types import Modality, Spec

NAMES = {"language": "text"}
"""Fields of modalities in the field's files, where they differ from the modality's name."""
PLAIN = (str, bytes, int, float, type(None))

Rows = NDArray[np.bool_]


def fields_of(
    split: Split,
    spec: Spec,
    file: FileFields | None = None,
    drawn: Mapping[str, Rows] | None = None,
    *,
    lists: bool = False,
) -> dict[str, Any]:
    """The fields of a split: arrays, and lists where these are allowed.

    Args:
        split: without missing modalities.
        spec: of the corpus: its longest sequences, task and classes.
        file: how the file given holds the samples. A modality that it lacks has the field's name and the longest length, or
            ``(N, D)`` where it is a single vector.
        drawn: for each modality that has some the samples ``(N,)`` bool that the file doesn't hold.
        lists: whether values may be lists, as in pickles.
    """
    file, drawn = file or FileFields(), drawn or {}
    fields = _columns(split, spec) | _others(file, lists)
    for modality in spec.modalities:
        name = modality.name
        rows = drawn.get(name, np.zeros(len(split), bool))
        fields |= _features(modality, split.features[name], file, rows, lists)
        if name in split.filled:
            fields[f"{_shape(modality, file).field}_filled"] = split.filled[name]
    if split.tokens is not None:
        fields[TOKENS] = _tokens(split.tokens, file.fields.get(TOKENS), drawn.get("language"))
    return fields


def unwritten(file: FileFields, lists: bool) -> list[str]:
    """The fields of a file that `fields_of` leaves out, since they hold other things than numbers and strings."""
    return [name for name, value in _unread(file).items() if value is not None and _plain(value, lists) is None]


def _columns(split: Split, spec: Spec) -> dict[str, Any]:
    """What imder reads beside features."""
    fields: dict[str, Any] = {"id": np.array(split.ids)}
    for key, values in {"raw_text": split.texts, "dialogue": split.dialogue, "speaker": split.speaker}.items():
        if values is not None:
            fields[key] = np.array(values)
    if split.position is not None:
        fields["position"] = split.position
    if split.labels is not None:
        fields[FIELDS["classification" if split.labels.dtype.kind != "f" else "regression"]] = split.labels
    if spec.task == "classification":
        fields["class_names"] = np.array(spec.classes)
    return fields


def _unread(file: FileFields) -> dict[str, Any]:
    """The fields of a file that belong to no modality."""
    names = {name for modality, shape in file.shapes.items() for name in (modality, shape.field)}
    owned = {TOKENS, *(shape.field for shape in file.shapes.values())}
    owned |= {f"{name}{suffix}" for name in names for suffix in SUFFIXES}
    return {name: value for name, value in file.fields.items() if name not in owned}


def _others(file: FileFields, lists: bool) -> dict[str, Any]:
    plain = {name: _plain(value, lists) for name, value in _unread(file).items()}
    return {name: value for name, value in plain.items() if value is not None}


def _plain(value: Any, lists: bool) -> Any:
    """The value as an array of numbers or strings, or a list of these; None where it holds anything else."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value if value.dtype.kind in "biufcSU" else None
    if isinstance(value, np.generic | str | bytes | int | float):
        return np.asarray(value)
    if not isinstance(value, list | tuple | np.ndarray) or (isinstance(value, np.ndarray) and value.ndim != 1):
        return None
    rows = [x.item() if isinstance(x, np.generic) else x for x in value]
    if lists and all(isinstance(x, PLAIN) for x in rows):
        return rows
    if lists and all(isinstance(x, np.ndarray) and x.dtype.kind in "biufcSU" for x in rows):
        return rows
    try:
        array = np.array(rows)
    except ValueError:  # rows of different lengths
        return None
    return array if array.dtype.kind in "biufcSU" else None


def _shape(modality: Modality, file: FileFields) -> FieldShape:
    name = modality.name
    return file.shapes.get(name, FieldShape(NAMES.get(name, name), modality.length if modality.length > 1 else None))


def _features(modality: Modality, ragged: Ragged, file: FileFields, drawn: Rows, lists: bool) -> dict[str, Any]:
    """The features of a modality, and the lengths of sequences."""
    shape, longest = _shape(modality, file), int(ragged.lengths.max(initial=1))
    given = file.fields.get(shape.field) if modality.name in file.shapes else None
    array = given if isinstance(given, np.ndarray) and given.dtype != object else None
    if shape.frames is None and longest == 1:
        return {shape.field: vectors(ragged, array, drawn)}
    lengths = {f"{shape.field}_lengths": ragged.lengths}
    if given is not None and array is None and lists:
        return {shape.field: of_list(ragged, given, drawn)} | lengths
    made = of_array(ragged, array, drawn) if array is not None and array.ndim == 3 else None
    if made is None:
        made = padded(ragged, max(longest, shape.frames or 0))
    return {shape.field: made} | lengths


def _tokens(tokens: Ragged, given: Any, drawn: Rows | None) -> NDArray[Any]:
    """``(N, 3, T)``: ids, attention mask, token types; those of the file, zeros for texts that were drawn."""
    table = np.array(given) if isinstance(given, np.ndarray | list) else np.empty(0)
    if table.dtype.kind in "fiu" and table.ndim == 3 and table.shape[:2] == (len(tokens), 3):
        table[tokens.lengths == 0 if drawn is None else drawn] = 0
        return table
    ids = padded(tokens, max(1, int(tokens.lengths.max(initial=1))))[:, :, 0]
    mask = np.arange(ids.shape[1]) < tokens.lengths[:, None]
    return np.stack([ids, mask.astype(np.int64), np.zeros_like(ids)], axis=1)
