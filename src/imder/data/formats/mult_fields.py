"""Fields as in the files of MulT (Tsai et al., ACL 2019): ``labels``, and ids of three parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from imder.data.array_labels import check_one_kind, label_column
from imder.data.formats.labels import FIELDS
from imder.data.formats.raw import Raw
from imder.types import Task

NAMES = ("labels", "label")
_NUMBERS = "; if the labels are numbers, not classes: regression_labels, or --task regression"


def with_label_fields(raws: Sequence[Raw], task: Task | None) -> list[Raw]:
    """The splits with ``labels`` (or ``label``) as ``classification_labels`` or ``regression_labels``.

    Strings and whole numbers are classes, other numbers are regressed, unless ``task`` says otherwise. Splits that have labels
    of a task, or several labels for each sample, stay as they are.

    Raises:
        ImderError: some labels are strings and others numbers, or a label is neither.
    """
    has_labels = any(raw.fields.get(field) is not None for raw in raws for field in FIELDS.values())
    name = next((name for name in NAMES if any(raw.fields.get(name) is not None for raw in raws)), "")
    if has_labels or not name or not all(_is_single(raw.fields.get(name)) for raw in raws):
        return list(raws)
    named = [replace(raw, keys={**raw.keys, "labels": name}) for raw in raws]
    columns = [label_column(raw, raw.fields.get(name), _rows(raw, raw.fields.get(name))) for raw in named]
    check_one_kind(named, columns, raws[0].where.removesuffix(f" [{raws[0].split}]"))
    values = [y for column in columns for y in column or () if y is not None]
    if any(isinstance(y, str) for y in values):
        classes = sorted({str(y) for y in values})
        fields: list[dict[str, Any]] = [
            {
                "classification_labels": [-1 if y is None else classes.index(str(y)) for y in column],
                "label_names": [y or "" for y in column],
            }
            for column in (column or [] for column in columns)
        ]
        key = "classification_labels"
    else:
        is_whole = bool(values) and all(isinstance(y, int) for y in values)
        is_class = task == "classification" or (task is None and is_whole)
        key = FIELDS["classification" if is_class else "regression"]
        for raw, column in zip(named, columns, strict=True):
            for i, y in enumerate(column or ()):
                if is_class and y is not None and (y < -1 or y != int(y)):  # type: ignore[operator] # numbers, checked above
                    raise raw.fault(
                        "labels",
                        f"the label {y} is no class: classes are 0, 1, 2, ...{_NUMBERS}",
                        _rows(raw, column)[i],
                    )
        fields = [{key: [np.nan if y is None else y for y in column or ()]} for column in columns]
    return [
        raw
        if column is None
        else Raw(
            raw.where, raw.split, {k: v for k, v in raw.fields.items() if k != name} | new, {**raw.keys, key: name}
        )
        for raw, column, new in zip(raws, columns, fields, strict=True)
    ]


def _is_single(value: Any) -> bool:
    """Whether a field holds one label for each sample, or is missing."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.ndim > 0 and value.size == len(value)
    return value is None or (
        isinstance(value, list | tuple | np.ndarray)
        and all(not isinstance(x, list | tuple | np.ndarray) or np.size(x) == 1 for x in value)
    )


def _rows(raw: Raw, column: Any) -> tuple[str, ...]:
    """The ids for messages: those of the file where they are as many as the labels."""
    n = 0 if column is None else len(column)
    ids = raw.fields.get("id")
    fits = isinstance(ids, list | tuple | np.ndarray) and np.ndim(ids) == 1 and len(ids) == n
    return raw.strings("id", n) or () if fits else tuple(f"{raw.split}-{i}" for i in range(n))


def with_single_ids(raw: Raw) -> Raw:
    """The split with one id for each sample, where the file gives three parts, such as a video, a start and an end.

    The parts are joined. If the last two are numbers, the video is the dialogue, and the start gives the position in it, unless
    the file has these fields.

    >>> ids = np.array([["v1", "7.5", "9"], ["v1", "0.5", "3"], ["v2", "1", "2"]])
    >>> fields = with_single_ids(Raw("a.pkl", "test", {"id": ids})).fields
    >>> fields["id"], fields["dialogue"], fields["position"]
    (['v1[7.5,9]', 'v1[0.5,3]', 'v2[1,2]'], ['v1', 'v1', 'v2'], [1, 0, 2])
    """
    parts = _parts(raw)
    if parts is None:
        return raw
    try:
        times = [[float(x) for x in row[1:]] for row in parts]
    except ValueError:
        times = []
    if not times:
        return replace(raw, fields={**raw.fields, "id": ["_".join(row) for row in parts]})
    new: dict[str, Any] = {"id": [f"{video}[{start},{end}]" for video, start, end in parts]}
    if raw.fields.get("dialogue") is None and raw.fields.get("position") is None:
        order = sorted(range(len(parts)), key=lambda i: (parts[i][0], times[i]))
        position = [0] * len(parts)
        for rank, i in enumerate(order):
            position[i] = rank
        new |= {"dialogue": [row[0] for row in parts], "position": position}
    return replace(raw, fields={**raw.fields, **new})


def _parts(raw: Raw) -> list[list[str]] | None:
    """The parts of each id as strings; None unless each has three."""
    ids = raw.fields.get("id")
    if not isinstance(ids, list | tuple | np.ndarray) or (isinstance(ids, np.ndarray) and not ids.ndim) or not len(ids):
        return None
    rows = [x.reshape(-1).tolist() if isinstance(x, np.ndarray) else x for x in ids]
    if not all(isinstance(row, list | tuple) and len(row) == 3 for row in rows):
        return None
    if not all(isinstance(x, str | bytes | int | float) for row in rows for x in row):
        return None
    return [[raw.text("id", i, x) for x in row] for i, row in enumerate(rows)]
