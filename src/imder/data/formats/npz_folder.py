"""A folder of ``train.npz``, ``valid.npz`` and ``test.npz``, or some of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from imder.data.formats.assemble import Contents, ReadOptions, assemble
from imder.data.formats.npz_file import is_npz, read_fields
from imder.data.formats.pickle_file import is_pickle
from imder.data.formats.raw import Raw
from imder.data.split_names import KNOWN, splits_named
from imder.types import ImderError

_MOST_SHOWN = 5


def is_npz_folder(path: Path) -> bool:
    """Whether a path is a folder."""
    return path.is_dir()


def read_npz_folder(path: Path, options: ReadOptions) -> Contents:
    """The splits of a folder.

    Raises:
        ImderError: there is no split in it, or one twice.
    """
    files = {file.name: file for file in sorted(path.iterdir()) if is_npz(file) or is_pickle(file)}
    arrays = {file.stem: file for file in files.values() if is_npz(file)}
    chosen = splits_named(arrays, str(path))
    if not chosen:
        raise ImderError(
            f"{path}: neither a store (corpus.json) nor a folder of train.npz, valid.npz, test.npz"
            + (f"; to read a file of it, name that: {_listed(list(files))}" if files else "")
        )
    raws = [Raw(str(arrays[name]), split, read_fields(arrays[name])) for split, name in chosen.items()]
    contents = assemble(raws, options)
    unread = [name for name, file in files.items() if file not in {arrays[stem] for stem in chosen.values()}]
    if not unread:
        return contents
    remark = f"{_listed(unread)} {'is' if len(unread) == 1 else 'are'} not read: splits are {KNOWN}, each an .npz file"
    return replace(contents, remarks=(remark, *contents.remarks))


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_MOST_SHOWN]) + (
        f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    )
