"""Labels of a corpus whose task isn't that of a model."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from imder.types import Task


def task_of(labels: NDArray[Any]) -> Task:
    """The task of the labels of a split: floats are regressed, integers are classes."""
    return "regression" if labels.dtype.kind == "f" else "classification"


def task_mismatch(labels: Task) -> str:
    """The message for labels of one task and a model of the other.

    >>> task_mismatch("classification")
    'its labels are classes, the model predicts numbers'
    """
    if labels == "classification":
        return "its labels are classes, the model predicts numbers"
    return "its labels are numbers, the model predicts classes"
