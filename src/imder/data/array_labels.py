"""Labels handed over in memory: one for each sample, their task and their class names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.array_values import has_rows, plain
from imder.data.formats.labels import MOST_CLASSES, number_remarks
from imder.data.formats.raw import Raw
from imder.data.formats.remarks import Remark
from imder.types import ImderError, Task


def label_column(raw: Raw, given: Any, ids: tuple[str, ...]) -> list[str | int | float | None] | None:
    """One label for each sample, None where it is missing."""
    if given is None:
        return None
    if isinstance(given, np.ndarray) and given.ndim > 1 and given.size == len(given):
        given = given.reshape(-1)
    if not has_rows(given):
        raise raw.fault("labels", f"an array or a list is needed, got {type(given).__name__}")
    if isinstance(given, np.ndarray) and given.ndim > 1:
        raise raw.fault(
            "labels",
            f"one label for each sample is needed, found the shape {given.shape}; of one-hot rows take the argmax",
        )
    if len(given) != len(ids):
        raise raw.fault("labels", f"{len(given)} rows where the features have {len(ids)}")
    return [_label(raw, value, sample) for value, sample in zip(given, ids, strict=True)]


def _label(raw: Raw, value: Any, sample: str) -> str | int | float | None:
    value = plain(value)
    if isinstance(value, list | tuple):
        if len(value) != 1:
            raise raw.fault("labels", f"one label is needed, found a list of {len(value)}", sample)
        return _label(raw, value[0], sample)
    if isinstance(value, np.ndarray) and value.size != 1:
        raise raw.fault("labels", f"one label is needed, found an array of shape {value.shape}", sample)
    if isinstance(value, np.ndarray | np.generic):
        value = value.reshape(-1)[0].item() if isinstance(value, np.ndarray) else value.item()
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise raw.fault(
                "labels", f"{value[:40]!r} is no valid Unicode; decode it as it was encoded", sample
            ) from None
    if value is None or value == "" or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, int) and abs(value) >= 2**63:
        raise raw.fault("labels", f"a whole number of {value.bit_length()} bits is too large", sample)
    if not isinstance(value, str | int | float):
        raise raw.fault("labels", f"a number or the name of a class is needed, got {type(value).__name__}", sample)
    return value


def check_one_kind(raws: Sequence[Raw], columns: Sequence[Sequence[Any] | None], where: str) -> None:
    """Raise `ImderError` where some labels are strings and others numbers."""
    kinds: dict[str, str] = {}
    for raw, column in zip(raws, columns, strict=True):
        names = {"strings" if isinstance(y, str) else "numbers" for y in column or () if y is not None}
        if len(names) > 1:
            raise raw.fault("labels", "some are strings, others numbers; use one kind")
        kinds |= {kind: raw.split for kind in names if kind not in kinds}
    if len(kinds) > 1:
        differing = ", ".join(f"{kind} in {split}" for kind, split in kinds.items())
        raise ImderError(f"{where}: labels are {differing}; use one kind")


def given_number_remarks(
    columns: Sequence[Sequence[Any] | None], labels: Sequence[NDArray[Any] | None], classes: Sequence[str]
) -> list[Remark]:
    """Remarks where labels given as numbers may be misread (`number_remarks`)."""
    marked = [
        None if y is None or column is None else y[[label is not None for label in column]]
        for column, y in zip(columns, labels, strict=True)
    ]
    if any(isinstance(label, str) for column in columns for label in column or ()):
        return []
    return number_remarks(marked, classes, "pass their names, or use task='regression'")


def task_and_classes(
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
        largest = max((y for y in labels if np.isfinite(y)), default=-1)
        if largest >= MOST_CLASSES:
            advice = f"at most {MOST_CLASSES} classes are possible; use task='regression' if the labels are no classes"
            raise ImderError(f"{where}: labels: the class {largest:g}: {advice}")
        return task, tuple(str(i) for i in range(1 + int(largest)))
    if len(set(classes)) != len(classes):
        raise ImderError(f"{where}: classes: a name repeats: {', '.join(classes)}")
    return task, tuple(classes)


def numbered_labels(
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
    if not isinstance(label, str) and np.isfinite(label) and label == int(label) and 0 <= label < len(classes):
        return int(label)
    advice = "; for numbers to regress use task='regression'" if not isinstance(label, str) else ""
    raise raw.fault("labels", f"{label!r} is no class; classes are {', '.join(classes)}{advice}", sample)
