"""A folder of ``train.npz``, ``valid.npz`` and ``test.npz``, or some of them."""

from __future__ import annotations

from pathlib import Path

from imder.data.formats.assemble import Contents, ReadOptions, assemble
from imder.data.formats.npz_file import read_fields
from imder.data.formats.raw import Raw
from imder.data.split import SPLITS
from imder.types import ImderError


def is_npz_folder(path: Path) -> bool:
    """Whether a path is a folder."""
    return path.is_dir()


def read_npz_folder(path: Path, options: ReadOptions) -> Contents:
    """The splits of a folder.

    Raises:
        ImderError: there is no split in it.
    """
    files = [file for split in SPLITS if (file := path / f"{split}.npz").exists()]
    if not files:
        raise ImderError(f"{path}: neither a store (corpus.json) nor a folder of train.npz, valid.npz, test.npz")
    return assemble([Raw(str(file), file.stem, read_fields(file)) for file in files], options)
