"""The formats of corpora: one row for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imder.data.formats.assemble import Contents, ReadOptions
from imder.data.formats.foreign_files import unknown_file
from imder.data.formats.npz_file import is_npz, read_npz
from imder.data.formats.npz_folder import is_npz_folder, read_npz_folder
from imder.data.formats.pickle_file import SUFFIXES, is_pickle, read_pickle
from imder.data.formats.store_folder import is_store, read_store_folder
from imder.types import ImderError


@dataclass(frozen=True)
class Reader:
    """One format.

    Attributes:
        name: for the documentation and messages.
        accepts: whether a path that exists is of this format.
        read: the contents of a path.
    """

    name: str
    accepts: Callable[[Path], bool]
    read: Callable[[Path, ReadOptions], Contents]


READERS: list[Reader] = [
    Reader("store (folder with corpus.json)", is_store, read_store_folder),
    Reader("folder of train.npz, valid.npz, test.npz", is_npz_folder, read_npz_folder),
    Reader(".npz", is_npz, read_npz),
    Reader(", ".join(SUFFIXES), is_pickle, read_pickle),
]
"""Every format that `imder.load_corpus` reads; the first that accepts a path reads it."""


def read_contents(path: Path, options: ReadOptions) -> Contents:
    """Read a path with the reader that accepts it.

    Raises:
        ImderError: no reader accepts it, or what the reader raises.
    """
    for reader in READERS:
        if reader.accepts(path):
            return reader.read(path, options)
    known = "; ".join(reader.name for reader in READERS)
    raise ImderError(f"{path}: unknown type of file {path.suffix!r}{unknown_file(path)}; known are: {known}")
