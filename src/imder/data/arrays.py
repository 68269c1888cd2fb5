"""Splits from arrays in memory: the keys of `imder.Corpus.from_arrays`, checked one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.formats.assemble import unlabelled_splits
from imder.data.formats.raw import Raw
from imder.data.split import SPLITS, Split
from imder.types import ImderError, Task

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
SUFFIXES = ("_lengths", "_present")

Arrays = Mapping[str, Any]
"""The columns of one split by key."""


def splits_from_arrays(
    given: Mapping[str, Arrays], task: Task | None, classes: Sequence[str] | None, where: str
) -> tuple[dict[str, Split], Task, tuple[str, ...]]:
    """Splits, task and class names (see `imder.Corpus.from_arrays`).

    Raises:
        ImderError: a key, a type, a shape or a label is wrong; the message names split, key and sample.
    """
    if not isinstance(given, Mapping) or not given:
        raise ImderError(f"{where}: a dict of splits is needed, such as {{'train': {{'language': ...}}}}")
    if task not in (None, "regression", "classification"):
        raise ImderError(f"{where}: unknown task {task!r}; use 'regression' or 'classification'")
    for split, columns in given.items():
        if split not in (*SPLITS, "all"):
            raise ImderError(f"{where}: unknown split {split!r}; use {', '.join(SPLITS)}, or 'all' alone")
        if not isinstance(columns, Mapping):
            raise ImderError(f"{where} [{split}]: a dict of arrays is needed, got {type(columns).__name__}")
    raws = [_raw(f"{where} [{split}]", split, columns) for split, columns in given.items()]
    _fill_missing(raws)
    labels = [raw.fields.pop("labels", None) for raw in raws]  # type: ignore[attr-defined] # dicts of `_raw`
    splits = unlabelled_splits(raws)
    label_columns = [_label_column(raw, y, splits[raw.split].ids) for raw, y in zip(raws, labels, strict=True)]
    task, names = _task_of(label_columns, task, classes, where)
    named = zip(raws, label_columns, strict=True)
    return (
        {
            raw.split: replace(splits[raw.split], labels=_labels(raw, column, splits[raw.split].ids, task, names))
            for raw, column in named
        },
        task,
        names,
    )


def columns_of(samples: Iterable[Any], where: str) -> dict[str, list[Any]]:
    """The columns of samples that are dicts; a key that a sample lacks is None there.

    Args:
        samples: an iterable, or a map-style `torch.utils.data.Dataset` (``__len__`` and ``__getitem__``).
        where: for messages.

    Raises:
        ImderError: it is neither, it is empty, or a sample is no dict.
    """
    dataset: Any = samples
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
    """The columns as the fields of a file, features as arrays of numbers."""
    fields: dict[str, Any] = {}
    raw = Raw(where, split, fields)
    ids = columns.get("ids", columns.get("id"))
    for given_key, given in columns.items():
        if not isinstance(given_key, str):
            raise ImderError(f"{where}: keys are strings, got {given_key!r}")
        value = _plain(given)
        key = SINGULAR.get(given_key, given_key)
        if key == "text" and _holds_strings(value):
            key = "texts"
        if key in FIELDS:
            field = FIELDS[key]
        elif key.endswith(SUFFIXES):
            field = key
        elif "label" in key or key == "annotations":
            raise raw.fault(given_key, f"is no modality and no known key; known are {', '.join(FIELDS)}")
        else:
            field, value = key, _features(raw, key, value, ids)
        if field in fields:
            raise raw.fault(given_key, f"is {key}, which is given already")
        fields[field] = value
    return raw


def _plain(value: Any) -> Any:
    """A tensor as an array, on the CPU; anything else as it is."""
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        tensor = value.detach().cpu()
        return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    return value.to_numpy() if hasattr(value, "to_numpy") else value


def _has_rows(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _holds_strings(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "US" or (value.dtype == object and _holds_strings(value.tolist()))
    return isinstance(value, list | tuple) and any(isinstance(x, str | bytes) for x in value)


def _features(raw: Raw, key: str, value: Any, ids: Any) -> NDArray[Any] | list[NDArray[Any] | None] | None:
    """An array ``(N, T, D)`` or ``(N, D)``, or for each sample ``(T, D)`` or ``(D,)``, None where it has none."""
    if value is None:
        return None
    if isinstance(value, np.ndarray) and value.dtype != object:
        if value.dtype.kind not in "fiub" or value.ndim not in (2, 3):
            raise raw.fault(
                key,
                "an array (N, T, D) or (N, D) or a list of N arrays (T_i, D) is needed, "
                f"got an array of {value.dtype} and shape {value.shape}",
            )
        array = value if value.dtype.kind == "f" else value.astype(np.float32)
        is_missing = np.asarray(np.isnan(array).all(axis=tuple(range(1, array.ndim))))
        if not is_missing.any():
            return array
        return [None if gone else x for gone, x in zip(is_missing, array, strict=True)]
    if not _has_rows(value):
        raise raw.fault(key, f"an array or a list of arrays is needed, got {type(value).__name__}")
    return [_sample_features(raw, key, x, _id(raw, ids, i)) for i, x in enumerate(value)]


def _sample_features(raw: Raw, key: str, value: Any, sample: str) -> NDArray[Any] | None:
    """``(T, D)`` or ``(D,)``; None for None, NaN, or an array that is empty or NaN throughout."""
    value = _plain(value)
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.empty(0, object)
    if array.size == 0 and array.dtype.kind == "f":
        return None
    if array.dtype.kind not in "fiub" or array.ndim not in (1, 2):
        kind = f"an array of {array.dtype} and shape {array.shape}" if array.size else type(value).__name__
        raise raw.fault(key, f"an array (T, D) or (D,) of numbers is needed, got {kind}", sample)
    array = array if array.dtype.kind == "f" else array.astype(np.float32)
    return None if np.isnan(array).all() else array


def _id(raw: Raw, ids: Any, row: int) -> str:
    ids = _plain(ids)
    has_id = _has_rows(ids) and len(ids) > row
    return str(ids[row]) if has_id else f"{raw.split}-{row}"


def _fill_missing(raws: Sequence[Raw]) -> None:
    """Give a modality that a split lacks in every sample zero frames of the width that it has elsewhere."""
    modalities = [
        key for raw in raws for key in raw.fields if key not in FIELDS.values() and not key.endswith(SUFFIXES)
    ]
    for key in dict.fromkeys(modalities):
        arrays = [x for raw in raws for x in _arrays(raw.fields.get(key))]
        width = next((x.shape[-1] for x in arrays), None)
        for raw in raws:
            if key in raw.fields and not any(True for _ in _arrays(raw.fields[key])):
                if width is None:
                    raise raw.fault(key, "no sample of any split has this modality; leave it out")
                n = len(raw.fields[key]) if raw.fields[key] is not None else _size(raw)
                raw.fields[key] = np.zeros((n, 0, width), np.float32)  # type: ignore[index] # a dict of `_raw`


def _arrays(value: Any) -> Iterable[NDArray[Any]]:
    return (x for x in value if x is not None) if value is not None else ()


def _size(raw: Raw) -> int:
    """Samples of a split, by any of its columns."""
    return next((len(value) for value in raw.fields.values() if _has_rows(value)), 0)


def _label_column(raw: Raw, given: Any, ids: tuple[str, ...]) -> list[str | int | float | None] | None:
    """One label for each sample, None where it is missing."""
    if given is None:
        return None
    if isinstance(given, np.ndarray) and given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    if not _has_rows(given):
        raise raw.fault("labels", f"an array or a list is needed, got {type(given).__name__}")
    if len(given) != len(ids):
        raise raw.fault("labels", f"{len(given)} rows where the features have {len(ids)}")
    return [_label(raw, value, sample) for value, sample in zip(given, ids, strict=True)]


def _label(raw: Raw, value: Any, sample: str) -> str | int | float | None:
    value = _plain(value)
    if isinstance(value, np.ndarray | np.generic) and np.size(value) == 1:
        value = value.reshape(-1)[0].item() if isinstance(value, np.ndarray) else value.item()
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if value is None or value == "" or (isinstance(value, float) and np.isnan(value)):
        return None
    if not isinstance(value, str | int | float):
        raise raw.fault("labels", f"a number or the name of a class is needed, got {type(value).__name__}", sample)
    return value


def _task_of(
    columns: Sequence[Sequence[Any] | None], task: Task | None, classes: Sequence[str] | None, where: str
) -> tuple[Task, tuple[str, ...]]:
    """The task and the class names: those given, else what the labels look like."""
    labels = [y for column in columns for y in column or () if y is not None]
    if classes is not None and (isinstance(classes, str) or not all(isinstance(c, str) for c in classes)):
        raise ImderError(f"{where}: classes: a sequence of names is needed, got {classes!r}")
    if task is None:
        is_class = classes is not None or any(isinstance(y, str) for y in labels)
        task = "classification" if is_class or (labels and all(isinstance(y, int) for y in labels)) else "regression"
    if task == "regression":
        if classes is not None:
            raise ImderError(f"{where}: classes: a regression has none; leave them out, or use task='classification'")
        return task, ()
    if classes is None and any(isinstance(y, str) for y in labels):
        return task, tuple(sorted({str(y) for y in labels}))
    if classes is None:
        return task, tuple(str(i) for i in range(1 + max((int(y) for y in labels), default=-1)))
    if len(set(classes)) != len(classes):
        raise ImderError(f"{where}: classes: a name repeats: {', '.join(classes)}")
    return task, tuple(classes)


def _labels(
    raw: Raw, column: Sequence[Any] | None, ids: tuple[str, ...], task: Task, classes: tuple[str, ...]
) -> NDArray[Any] | None:
    """``(N,)`` float32 with NaN, or int64 with -1, where a label is missing."""
    if column is None:
        return None
    if task == "regression":
        return np.array([_value(raw, y, sample) for y, sample in zip(column, ids, strict=True)], np.float32)
    return np.array([_number(raw, y, sample, classes) for y, sample in zip(column, ids, strict=True)], np.int64)


def _value(raw: Raw, label: Any, sample: str) -> float:
    if label is None:
        return float("nan")
    if isinstance(label, str) or not np.isfinite(np.float32(label)):
        raise raw.fault("labels", f"{label!r} is no finite number; for classes use task='classification'", sample)
    return float(label)


def _number(raw: Raw, label: Any, sample: str, classes: tuple[str, ...]) -> int:
    if label is None or label == -1:
        return -1
    if isinstance(label, str) and label in classes:
        return classes.index(label)
    if not isinstance(label, str) and label == int(label) and 0 <= label < len(classes):
        return int(label)
    advice = "; for numbers to regress use task='regression'" if not isinstance(label, str) else ""
    raise raw.fault("labels", f"{label!r} is no class; classes are {', '.join(classes)}{advice}", sample)
