"""Splits from arrays in memory: the keys of `imder.Corpus.from_arrays`, checked one by one."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.array_labels import (
    check_one_kind,
    given_number_remarks,
    label_column,
    numbered_labels,
    task_and_classes,
)
from imder.data.array_values import has_rows, holds_strings, plain
from imder.data.formats.assemble import unlabelled_splits
from imder.data.formats.fields import RENAMED, SUFFIXES, USUAL, purpose
from imder.data.formats.mult_fields import with_single_ids
from imder.data.formats.padding import Padding, Sequences, check_padding
from imder.data.formats.raw import Raw
from imder.data.formats.remarks import sentences
from imder.data.formats.sequences import NEEDED, sample_of, sequences_of
from imder.data.formats.token_fields import TOKEN_IDS, with_token_fields
from imder.data.split import Split
from imder.data.split_names import KNOWN, splits_named
from imder.types import ImderError, Task

log = logging.getLogger(__name__)

FIELDS = {
    "labels": "labels",
    "ids": "id",
    "texts": "raw_text",
    "dialogue": "dialogue",
    "position": "position",
    "speaker": "speaker",
    "text_bert": "text_bert",
}
"""Keys that are no modality, and the names of their fields in files."""
SINGULAR = {"label": "labels", "id": "ids", "raw_text": "texts"}

Arrays = Mapping[str, Any]
"""The columns of one split by key."""


def splits_from_arrays(
    given: Mapping[str, Arrays], task: Task | None, classes: Sequence[str] | None, where: str, padding: Padding
) -> tuple[dict[str, Split], Task, tuple[str, ...], tuple[str, ...]]:
    """Splits, task, class names and remarks (see `imder.Corpus.from_arrays`).

    Raises:
        ImderError: a key, a type, a shape or a label is wrong; the message names split, key and sample.
    """
    if not isinstance(given, Mapping) or not given:
        raise ImderError(f"{where}: a dict of splits is needed, such as {{'train': {{'language': ...}}}}")
    if task not in (None, "regression", "classification", "none"):
        raise ImderError(f"{where}: unknown task {task!r}; use 'regression', 'classification' or 'none'")
    splits_of = splits_named(map(str, given), where) or ({"all": "all"} if [*given] == ["all"] else {})
    for name, columns in given.items():
        if name not in splits_of.values():
            raise ImderError(f"{where}: unknown split {name!r}; use {KNOWN}, or 'all' alone")
        if not isinstance(columns, Mapping):
            raise ImderError(f"{where} [{name}]: a dict of arrays is needed, got {type(columns).__name__}")
    check_padding(padding)
    raws = [with_single_ids(_raw(f"{where} [{split}]", split, given[name])) for split, name in splits_of.items()]
    raws = [_with_features(raw) for raw in with_token_fields(raws)]
    _fill_missing(raws)
    labels = [raw.fields.pop("labels", None) for raw in raws]  # type: ignore[attr-defined] # dicts of `_raw`
    splits, remarks = unlabelled_splits(raws, padding)
    if task == "none":
        return splits, "none", (), sentences(remarks)
    label_columns = [label_column(raw, y, splits[raw.split].ids) for raw, y in zip(raws, labels, strict=True)]
    if task != "regression":
        check_one_kind(raws, label_columns, where)
    task, names = task_and_classes(label_columns, task, classes, where)
    numbered = [
        numbered_labels(raw, column, splits[raw.split].ids, task, names)
        for raw, column in zip(raws, label_columns, strict=True)
    ]
    if task == "classification":
        remarks += given_number_remarks(label_columns, numbered, names if classes is None else ())
    labelled = {raw.split: replace(splits[raw.split], labels=y) for raw, y in zip(raws, numbered, strict=True)}
    return labelled, task, names, sentences(remarks)


def columns_of(samples: Iterable[Any], where: str) -> dict[str, list[Any]]:
    """The columns of samples that are dicts; a key that a sample lacks is None there.

    Args:
        samples: an iterable, or a map-style `torch.utils.data.Dataset` (``__len__`` and ``__getitem__``).
        where: for messages.

    Raises:
        ImderError: it is neither, it is empty, or a sample is no dict.
    """
    dataset: Any = samples
    if hasattr(dataset, "collate_fn") and hasattr(dataset, "dataset"):
        raise ImderError(f"{where}: pass the Dataset (loader.dataset), not a DataLoader: its batches aren't samples")
    if not hasattr(dataset, "__iter__") and hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"):
        dataset = (samples[i] for i in range(len(dataset)))  # type: ignore[index]
    elif not hasattr(dataset, "__iter__") or isinstance(dataset, str | bytes):
        raise ImderError(f"{where}: a dataset or an iterable of dicts is needed, got {type(samples).__name__}")
    rows = []
    for i, sample in enumerate(dataset):
        if not isinstance(sample, Mapping):
            raise ImderError(f"{where}: sample {i}: a dict is needed, got {type(sample).__name__}")
        rows.append(sample)
    if not rows:
        raise ImderError(f"{where}: there are no samples")
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: [row.get(key) for row in rows] for key in keys}


def _raw(where: str, split: str, columns: Arrays) -> Raw:
    """The columns as the fields of a file."""
    fields: dict[str, Any] = {}
    keys: dict[str, str] = {}
    raw = Raw(where, split, fields, keys)
    for given_key, given in columns.items():
        if not isinstance(given_key, str):
            raise ImderError(f"{where}: keys are strings, got {given_key!r}")
        value = plain(given)
        key = SINGULAR.get(given_key, given_key)
        if key == "text" and holds_strings(value):
            key = "texts"
        if key in FIELDS:
            field = FIELDS[key]
        elif key.endswith(SUFFIXES):
            field = key
        elif key == "annotations" or (key not in USUAL and purpose(key)):
            raise raw.fault(given_key, f"is no modality and no known key; known are {', '.join(FIELDS)}")
        else:
            field, value = key, _rows(raw, given_key, value)
        if field in fields:
            raise raw.fault(given_key, f"is {key}, which is given already")
        fields[field], keys[field] = value, given_key
    modalities = {RENAMED.get(key, key) for key in fields if _is_modality(key)}
    for key in fields:
        for suffix in SUFFIXES:
            if (
                key.endswith(suffix)
                and RENAMED.get(key.removesuffix(suffix), key.removesuffix(suffix)) not in modalities
            ):
                raise raw.fault(key, f"there is no modality {key.removesuffix(suffix)!r}")
    return raw


def _is_modality(field: str) -> bool:
    return field not in FIELDS.values() and not field.endswith(SUFFIXES)


def _rows(raw: Raw, key: str, value: Any) -> Any:
    """An array of numbers, or a list with what each sample has; None without any."""
    if value is None or (isinstance(value, np.ndarray) and value.dtype != object and value.ndim):
        return value
    if not has_rows(value):
        raise raw.fault(key, f"an array or a list of arrays is needed, got {type(value).__name__}")
    return [plain(x) for x in value]


def _with_features(raw: Raw) -> Raw:
    """The split with features as files give them (`sequences_of`); None for each sample where no sample has any."""
    fields = {key: _features(raw, key, value) if _is_modality(key) else value for key, value in raw.fields.items()}
    return replace(raw, fields=fields)


def _features(raw: Raw, key: str, value: Any) -> Sequences | list[None] | None:
    if value is None:
        return None
    if key in raw.token_ids:
        raise raw.fault(key, TOKEN_IDS)
    sequences = sequences_of(raw, key, value, usual=True)
    if sequences is not None:
        return sequences
    if isinstance(value, np.ndarray):
        raise raw.fault(key, f"{NEEDED}; found an array of {value.dtype} and shape {value.shape}")
    for row in range(len(value)):
        sample_of(raw, key, value, row)  # raises for anything but a sample without features
    return [None] * len(value)


def _fill_missing(raws: Sequence[Raw]) -> None:
    """Give a modality that a split lacks in every sample zero frames of the width that it has elsewhere.

    A modality that no sample of any split has is left out.
    """
    for key in dict.fromkeys(key for raw in raws for key in raw.fields if _is_modality(key)):
        having = [raw for raw in raws if key in raw.fields]
        widths = [x.shape[-1] for raw in having for x in _arrays(raw.fields[key])]
        if not any(np.isfinite(x).any() for raw in having for x in _arrays(raw.fields[key])):
            for raw in having:
                _leave_out(raw, key)
            continue
        for raw in having:
            if not any(True for _ in _arrays(raw.fields[key])):
                n = len(raw.fields[key]) if raw.fields[key] is not None else _size(raw)
                raw.fields[key] = np.zeros((n, 0, widths[0]), np.float32)  # type: ignore[index] # a dict of `_raw`


def _leave_out(raw: Raw, key: str) -> None:
    """Remove a modality that no sample has, with its lengths."""
    if sum(map(_is_modality, raw.fields)) == 1:
        raise raw.fault(key, "no sample of any split has this modality, and there is no other")
    log.warning("%s: %s: no sample of any split has this modality; it is left out", raw.where, raw.keys[key])
    for field in (key, *(key + suffix for suffix in SUFFIXES)):
        raw.fields.pop(field, None)  # type: ignore[attr-defined] # a dict of `_raw`


def _arrays(value: Any) -> Iterable[NDArray[Any]]:
    """The features of samples that have some."""
    return (x for x in value if x is not None and x.size) if value is not None else ()


def _size(raw: Raw) -> int:
    """Samples of a split, by any of its columns."""
    return next((len(value) for value in raw.fields.values() if has_rows(value)), 0)
