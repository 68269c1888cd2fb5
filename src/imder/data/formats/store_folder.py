"""The library's own store (`imder.data.store`) as one of the formats."""

from __future__ import annotations

from pathlib import Path

from imder.data.formats.assemble import Contents, ReadOptions
from imder.data.store import is_store, read_store
from imder.types import ImderError

__all__ = ["is_store", "read_store_folder"]


def read_store_folder(path: Path, options: ReadOptions) -> Contents:
    """The splits of a store.

    Raises:
        ImderError: it is damaged, or holds the labels of another task.
    """
    corpus = read_store(path)
    if options.spec is None and options.task not in (None, corpus.spec.task):
        raise ImderError(
            f"{path}: the store holds labels for {corpus.spec.task}, not for {options.task}; convert it again"
        )
    return Contents(corpus.splits, corpus.spec.task, corpus.spec.classes, corpus.name, corpus.recipe)
