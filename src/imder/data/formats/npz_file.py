"""An npz file: one split, named by the file where that is the name of a split."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from imder.data.formats.assemble import Contents, assemble
from imder.data.formats.raw import Raw
from imder.data.split import SPLITS
from imder.types import ImderError, Spec, Task


def is_npz(path: Path) -> bool:
    """Whether a path is a file that ends in ``.npz``."""
    return path.is_file() and path.suffix == ".npz"


def read_npz(path: Path, task: Task | None, spec: Spec | None) -> Contents:
    """The split in an npz file, called ``all`` unless the file is called after a split."""
    split = path.stem if path.stem in SPLITS else "all"
    return assemble([Raw(str(path), split, read_fields(path))], task, spec)


def read_fields(path: Path) -> dict[str, Any]:
    """The arrays of an npz file by name (`ImderError` where it is damaged or holds pickled objects)."""
    if not zipfile.is_zipfile(path):
        raise ImderError(f"{path}: not a complete npz file")
    field = "the archive"
    try:
        fields = {}
        with np.load(path, allow_pickle=False) as archive:
            for field in archive.files:
                fields[field] = archive[field]
        return fields
    except Exception as error:  # zip, zlib and numpy have many words for a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        if reason.startswith("Object arrays"):
            raise ImderError(
                f"{path}: {field}: an array of Python objects is not read from npz files; pad features to (N, T, D) and "
                f"give {field}_lengths (N,), and store words as arrays of strings"
            ) from None
        raise ImderError(f"{path}: {field}: cannot be read ({reason})") from None
