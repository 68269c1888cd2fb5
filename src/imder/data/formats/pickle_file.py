"""A pickle as the field shares them: a dict of splits, or the fields of one split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from imder.data.formats.assemble import Contents, ReadOptions, assemble
from imder.data.formats.foreign_files import HAND_OVER, foreign_file, plain_text
from imder.data.formats.foreign_layouts import foreign_layout, foreign_splits
from imder.data.formats.raw import Raw
from imder.data.formats.unpickle import restricted_load
from imder.data.split_names import KNOWN, split_named, splits_named
from imder.types import ImderError

SUFFIXES = (".pkl", ".pickle", ".p")
_OF_TABLES_AND_TENSORS = ("pandas.", "torch.", "scipy.sparse")


def is_pickle(path: Path) -> bool:
    """Whether a path is a file that ends as pickles do."""
    return path.is_file() and path.suffix.lower() in SUFFIXES


def read_pickle(path: Path, options: ReadOptions) -> Contents:
    """The splits of a pickle.

    Raises:
        ImderError: it holds anything but arrays and plain containers, or is no dict of splits or fields.
    """
    raws, remarks = _raws(path)
    contents = assemble(raws, options)
    return replace(contents, remarks=(*remarks, *contents.remarks))


def _raws(path: Path) -> tuple[list[Raw], list[str]]:
    """The fields of each split, and remarks on entries beside the splits."""
    data = _load(path)
    if not isinstance(data, dict):
        raise ImderError(f"{path}: a dict of splits or fields is needed, {foreign_layout(data)}")
    data = _with_names(data)
    inner = {key: value for key, value in data.items() if isinstance(value, dict)}
    splits = splits_named(inner, str(path)) or ({"all": "all"} if [*inner] == ["all"] else {})
    if not splits and any(map(split_named, data)):
        raise ImderError(f"{path}: {foreign_splits(data) or 'each split must be a dict of fields'}")
    if not splits and (not inner or any(map(_has_rows, data.values()))):
        return [Raw(str(path), "all", data)], []
    if not splits and (what := foreign_splits(data)):
        raise ImderError(f"{path}: {what}")
    remarks = []
    for key, value in data.items():
        if key in splits.values():
            continue
        if isinstance(value, dict) and (not splits or any(map(_has_rows, value.values()))):
            raise ImderError(f"{path}: unknown split {key!r}; known are {KNOWN}")
        if split_named(key) and value is not None:
            raise ImderError(f"{path}: the split {key!r} is {type(value).__name__} where a dict of fields is needed")
        remarks.append(f"{key!r} beside the splits is not read")
    return [Raw(f"{path} [{split}]", split, _with_names(inner[key])) for split, key in splits.items()], remarks


def _has_rows(value: Any) -> bool:
    return isinstance(value, list | tuple | np.ndarray)


def _load(path: Path) -> Any:
    """What the pickle holds; `ImderError` where it is no pickle, or more than a pickle of data."""
    what = foreign_file(path)
    if what:
        raise ImderError(f"{path}: not a pickle, but {what}")
    try:
        return restricted_load(path)
    except ImderError as error:
        if text := plain_text(path):
            raise ImderError(f"{path}: not a pickle, but {text}") from None
        if str(error).startswith(tuple(f"{path}: refused {module}" for module in _OF_TABLES_AND_TENSORS)):
            raise ImderError(f"{error}; if you trust the file, {HAND_OVER}") from None
        raise


def _with_names(data: Mapping[Any, Any]) -> dict[str, Any]:
    """The mapping with strings as keys; pickles of Python 2 have bytes."""
    return {key.decode(errors="replace") if isinstance(key, bytes) else str(key): x for key, x in data.items()}
