"""A pickle as the field shares them: a dict of splits, or the fields of one split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imder.data.formats.assemble import Contents, ReadOptions, assemble
from imder.data.formats.raw import Raw
from imder.data.formats.unpickle import restricted_load
from imder.data.split import SPLITS
from imder.types import ImderError

SUFFIXES = (".pkl", ".pickle", ".p")


def is_pickle(path: Path) -> bool:
    """Whether a path is a file that ends as pickles do."""
    return path.is_file() and path.suffix in SUFFIXES


def read_pickle(path: Path, options: ReadOptions) -> Contents:
    """The splits of a pickle.

    Raises:
        ImderError: it holds anything but arrays and plain containers, or is no dict of splits or fields.
    """
    return assemble(_raws(path), options)


def _raws(path: Path) -> list[Raw]:
    data = restricted_load(path)
    if not isinstance(data, dict):
        raise ImderError(f"{path}: a dict of splits or fields is needed, found {type(data).__name__}")
    data = _with_names(data)
    inner = {key: value for key, value in data.items() if isinstance(value, dict)}
    if not inner:
        return [Raw(str(path), "all", data)]
    for key in inner:
        if key not in SPLITS:
            raise ImderError(f"{path}: unknown split {key!r}; known are {', '.join(SPLITS)}")
    return [Raw(f"{path} [{split}]", split, _with_names(inner[split])) for split in SPLITS if split in inner]


def _with_names(data: Mapping[Any, Any]) -> dict[str, Any]:
    """The mapping with strings as keys; pickles of Python 2 have bytes."""
    return {key.decode(errors="replace") if isinstance(key, bytes) else str(key): x for key, x in data.items()}
