"""The names that splits have in the field: those of the library, and others for the same."""

from __future__ import annotations

from collections.abc import Iterable

from imder.data.split import SPLITS
from imder.types import ImderError

OTHER_NAMES = {
    "training": "train",
    "trainset": "train",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "devel": "valid",
    "development": "valid",
    "testing": "test",
    "testset": "test",
}
KNOWN = f"{', '.join(SPLITS)} (or val, dev, ...)"
"""For messages."""


def split_named(name: str) -> str | None:
    """The split of a name in any case, None if it names none.

    >>> split_named("Dev"), split_named("TRAIN"), split_named("fold1")
    ('valid', 'train', None)
    """
    lower = name.strip().lower()
    return lower if lower in SPLITS else OTHER_NAMES.get(lower)


def splits_named(names: Iterable[str], where: str) -> dict[str, str]:
    """For each split that is among the names: its name, in the order of `SPLITS`.

    Raises:
        ImderError: two names are of one split.
    """
    given: dict[str, str] = {}
    for name in names:
        split = split_named(name)
        if split is not None and given.setdefault(split, name) != name:
            raise ImderError(f"{where}: {given[split]!r} and {name!r} are both the split {split}; keep one of them")
    return {split: given[split] for split in SPLITS if split in given}
