"""The library's own store (`imder.data.store`) as one of the formats."""

from __future__ import annotations

from pathlib import Path

from imder.data.formats.assemble import Contents
from imder.data.store import is_store, read_store
from imder.types import ImderError, Spec, Task

__all__ = ["is_store", "read_store_folder"]


def read_store_folder(path: Path, task: Task | None, spec: Spec | None) -> Contents:
    """The splits of a store.

    Raises:
        ImderError: it is damaged, or holds the labels of another task.
    """
    corpus = read_store(path)
    if spec is None and task not in (None, corpus.spec.task):
        raise ImderError(f"{path}: the store holds labels for {corpus.spec.task}, not for {task}; convert it again")
    return Contents(corpus.splits, corpus.spec.task, corpus.spec.classes, corpus.name, corpus.recipe)
