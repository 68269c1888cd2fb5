"""Labels of a feature file: numbers to regress, or classes with their names.

A label that is not there is NaN (regression) or -1 (classification). That is no mistake until something needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.formats.raw import Raw
from imder.data.split import Split
from imder.types import ImderError, Task

MOST_CLASSES = 1000
FIELDS: dict[Task, str] = {"regression": "regression_labels", "classification": "classification_labels"}

Named = tuple[Raw, tuple[str, ...]]  # the fields of a split, and its ids


def read_labels(splits: Sequence[Named], task: Task | None) -> tuple[Task, tuple[str, ...], list[NDArray[Any] | None]]:
    """The task, the class names and the labels of each split.

    The task is the one asked for, or else regression where the file has both. A file without any labels is one of
    regression, whatever was asked for, since there are no classes to tell.

    Raises:
        ImderError: the file has labels, but not for the task; or a label is not possible.
    """
    here = [t for t, f in FIELDS.items() if any(raw.column(f, len(ids)) is not None for raw, ids in splits)]
    if not here:
        return "regression", (), [None] * len(splits)
    if task is None:
        task = here[0]
    elif task not in here:
        raise splits[0][0].fault(FIELDS[task], f"not in the file, which has {FIELDS[here[0]]} (choose with --task)")
    if task == "regression":
        return task, (), [_regression(raw, ids) for raw, ids in splits]
    labels = [_classification(raw, ids) for raw, ids in splits]
    return task, _class_names(splits, labels), labels


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
    """Names by label number, over all splits: those of ``label_names``, or of ``annotations``, or the numbers.

    ``annotations`` that contradict the labels (they may speak of something else) are not used.
    """
    count = 1 + max((int(y.max(initial=-1)) for y in labels if y is not None), default=-1)
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
    """The labels ``(N,)`` of a split, all of them known.

    Raises:
        ImderError: a label is missing; ``where`` names the file or split.
    """
    if split.labels is None:
        raise ImderError(f"{where}: there are no labels for this task ({' or '.join(FIELDS.values())})")
    floats = split.labels.dtype.kind == "f"
    for i in np.flatnonzero(np.isnan(split.labels) if floats else split.labels < 0):
        field = FIELDS["regression" if floats else "classification"]
        raise ImderError(f"{where}: {field}: sample {split.ids[i]!r}: the label is missing, and is needed here")
    return split.labels
