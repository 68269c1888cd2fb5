"""Labels of a feature file: numbers for regression, or classes and their names.

A missing label is NaN (regression) or -1 (classification), and an error only where a label is required (`require_labels`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.formats.raw import Raw
from imder.data.formats.remarks import Remark
from imder.data.split import Split
from imder.data.task_mismatch import task_mismatch
from imder.types import ImderError, Task

MOST_CLASSES = 1000
MOST_SHOWN = 6
FIELDS: dict[Task, str] = {"regression": "regression_labels", "classification": "classification_labels"}

Named = tuple[Raw, tuple[str, ...]]  # the fields of a split, and its ids


def read_labels(splits: Sequence[Named], task: Task | None) -> tuple[Task, tuple[str, ...], list[NDArray[Any] | None]]:
    """The task, the class names and the labels of each split.

    Args:
        splits: the fields and ids of each split.
        task: the task; None for regression if the file has its labels, otherwise classification. A file without any
            labels counts as regression whatever ``task`` is, since it has no classes.

    Raises:
        ImderError: the file has labels, but not for the task; or a label is invalid.
    """
    tasks = [t for t, f in FIELDS.items() if any(raw.column(f, len(ids)) is not None for raw, ids in splits)]
    if not tasks:
        return "regression", (), [None] * len(splits)
    if task is None:
        task = tasks[0]
    elif task not in tasks:
        raise splits[0][0].fault(FIELDS[task], f"not in the file, which has {FIELDS[tasks[0]]} (task, --task)")
    if task == "regression":
        return task, (), [_regression(raw, ids) for raw, ids in splits]
    labels = [_classification(raw, ids) for raw, ids in splits]
    classes = _class_names(splits, labels)
    return task, classes, labels


def number_remarks(labels: Sequence[NDArray[Any] | None], classes: Sequence[str], way_out: str) -> list[Remark]:
    """Remarks on class numbers that may be misread: -1 counts as unlabelled, and numbers start at 0.

    Args:
        labels: of each split; those of a regression are passed over.
        classes: their names.
        way_out: what to do if the labels are no classes.
    """
    way_out = f"number classes from 0, or {way_out} if the labels are no classes"
    every = np.concatenate([y for y in labels if y is not None and y.dtype.kind != "f"] or [np.zeros(0, np.int64)])
    known = every[every >= 0]
    remarks = []
    if 0 < len(known) < len(every):
        text = "{n} of {total} samples count as unlabelled, because the class -1 means unknown"
        remarks.append(Remark(f"{text} ({way_out})", len(every) - len(known), len(every)))
    lacking = [name for number, name in enumerate(classes) if not (known == number).any()]
    if lacking and len(known):
        shown = ", ".join(lacking[:MOST_SHOWN]) + (", ..." if len(lacking) > MOST_SHOWN else "")
        remarks.append(Remark(f"no sample has the class {shown} of classes 0 to {len(classes) - 1} ({way_out})"))
    return remarks


def _regression(raw: Raw, ids: tuple[str, ...]) -> NDArray[np.float32] | None:
    field = FIELDS["regression"]
    given = raw.numbers(field, ids)
    if given is None:
        return None
    with np.errstate(over="ignore"):
        labels = given.astype(np.float32)
    for i in np.flatnonzero(np.isinf(labels)):
        raise raw.fault(field, f"the label {given[i]:g} is not finite", ids[i])
    return labels


def _classification(raw: Raw, ids: tuple[str, ...]) -> NDArray[np.int64] | None:
    field = FIELDS["classification"]
    given = raw.numbers(field, ids)
    if given is None:
        return None
    given = np.where(np.isnan(given), -1, given)
    fits = (given >= -1) & (given < MOST_CLASSES) & (given == np.floor(given))
    for i in np.flatnonzero(~fits):
        raise raw.fault(field, f"the label {given[i]:g} is out of range: classes are 0, 1, 2, ...", ids[i])
    return given.astype(np.int64)


def _class_names(splits: Sequence[Named], labels: Sequence[NDArray[np.int64] | None]) -> tuple[str, ...]:
    """Names by label number, over all splits: ``class_names``, or from ``label_names`` or ``annotations``, or the numbers.

    ``class_names`` has one name for each class, in the order of numbers, so that it names classes without samples too.
    ``annotations`` that contradict the labels are ignored, since they may describe something else.
    """
    count = 1 + max((int(y.max(initial=-1)) for y in labels if y is not None), default=-1)
    for raw, _ in splits:
        if (names_given := raw.fields.get("class_names")) is not None:
            every = raw.strings("class_names", int(np.size(names_given))) or ()
            if len(every) < count or len(set(every)) < len(every):
                raise raw.fault("class_names", f"{count} different names are needed, one for each class")
            return every
    for field in ("label_names", "annotations"):
        names: dict[int, str] = {}
        numbers: dict[str, int] = {}
        clash = False
        for (raw, ids), y in zip(splits, labels):
            given = raw.strings(field, len(ids))
            for i, (name, number) in enumerate(zip(given or (), y if y is not None else ())):
                if not name:
                    continue
                if number < 0:
                    raise raw.fault(FIELDS["classification"], f"-1 is out of range for the class {name!r}", ids[i])
                if names.setdefault(int(number), name) != name or numbers.setdefault(name, int(number)) != number:
                    clash = True
                    if field == "label_names":
                        raise raw.fault(
                            field, f"label {number} is called {name!r} here and otherwise elsewhere", ids[i]
                        )
        if names and not clash:
            return tuple(names.get(i, str(i)) for i in range(count))
    return tuple(str(i) for i in range(count))


def require_labels(split: Split, where: str) -> NDArray[Any]:
    """The labels ``(N,)`` of a split in which no label is missing.

    Raises:
        ImderError: a label is missing; ``where`` names the file or split.
    """
    if split.labels is None and split.foreign_task is not None:
        raise ImderError(f"{where}: {task_mismatch(split.foreign_task)}")
    if split.labels is None:
        remarks = "".join(f"; {remark}" for remark in split.unread)
        raise ImderError(f"{where}: no labels for this task ({' or '.join(FIELDS.values())}){remarks}")
    floats = split.labels.dtype.kind == "f"
    missing = np.flatnonzero(np.isnan(split.labels) if floats else split.labels < 0)
    if len(missing):
        field = FIELDS["regression" if floats else "classification"]
        hint = "" if floats else "; the class -1 means unknown"
        raise ImderError(
            f"{where}: {field}: sample {split.ids[missing[0]]!r}: the label is missing, but required here, as in "
            f"{len(missing)} of {len(split)} samples{hint}"
        )
    return split.labels
