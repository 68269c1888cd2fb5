"""An npz file: one split, named by the file where that is the name of a split.

An archive may claim any size. What it claims is bounded (`imder.jobs.expansion`) before numpy makes room for an array.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from imder.data.formats.assemble import Contents, ReadOptions, assemble
from imder.data.formats.characters import check_characters
from imder.data.formats.fields import OTHER, purpose
from imder.data.formats.foreign_files import foreign_file, is_like_pickle, plain_text
from imder.data.formats.raw import Raw
from imder.data.split_names import split_named
from imder.jobs.expansion import Allowance
from imder.types import ImderError

MOST_CHARACTERS = 200


def is_npz(path: Path) -> bool:
    """Whether a path is a file that ends in ``.npz``."""
    return path.is_file() and path.suffix.lower() == ".npz"


def read_npz(path: Path, options: ReadOptions) -> Contents:
    """The split in an npz file, called ``all`` unless the file is called after a split."""
    return assemble([Raw(str(path), split_named(path.stem) or "all", read_fields(path))], options)


def read_fields(path: Path) -> dict[str, Any]:
    """The arrays of an npz file by name (`ImderError` where it is damaged or holds pickled objects)."""
    if not zipfile.is_zipfile(path):
        what = foreign_file(path) or ("a pickle; name it .pkl" if is_like_pickle(path) else plain_text(path))
        raise ImderError(f"{path}: not a complete npz file{what and f', but {what}'}")
    field = "the archive"
    try:
        fields = {}
        allowance = Allowance(path)
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            allowance.check(sum(member.file_size for member in members))
            for member in members:
                if not member.filename.endswith(".npy"):
                    continue
                field = member.filename.removesuffix(".npy")[:MOST_CHARACTERS]
                with archive.open(member) as file:
                    _check_header(file, member.file_size, allowance)
                with archive.open(member) as file:
                    fields[field] = npy.read_array(file, allow_pickle=False)
                check_characters(fields[field])
        if members and not fields:
            raise ImderError(f"{path}: not an npz file, but {foreign_file(path)}")
        return fields
    except ImderError:
        raise
    except Exception as error:  # zip, zlib and numpy have many words for a damaged file
        reason = (" ".join(str(error).split()) or type(error).__name__)[:MOST_CHARACTERS]
        if reason.startswith("Object arrays"):
            raise ImderError(
                f"{path}: {field}: an array of Python objects is not read from npz files; {_advice(field)}, or save the "
                "fields as a pickle"
            ) from None
        raise ImderError(f"{path}: {field}: cannot be read ({reason})") from None


def _advice(field: str) -> str:
    """How to save a field without Python objects."""
    if field in OTHER or purpose(field):
        return "save numbers as numbers and words as strings: numpy.array(values.tolist())"
    return f"pad features to (N, T, D) and give {field}_lengths (N,)"


def _check_header(file: IO[bytes], size: int, allowance: Allowance) -> None:
    """Raise unless the array that a member's header describes is as large as the member's data."""
    version = npy.read_magic(file)
    read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read_header is None:
        raise ValueError(f"a structured array, version {version[0]}.{version[1]}")
    described: tuple[tuple[int, ...], bool, np.dtype[Any]] = read_header(file)
    shape, _, dtype = described
    if dtype.hasobject:
        return  # `numpy.lib.format.read_array` refuses it
    if any(n < 0 for n in shape):
        raise ValueError(f"the shape {shape}")
    cells: int = math.prod(shape)
    if cells * dtype.itemsize > size or (cells and not dtype.itemsize):
        raise ValueError(f"an array of shape {shape} and {dtype} in {size} bytes")
    allowance.check(math.prod(max(1, n) for n in shape) * max(1, dtype.itemsize))  # (10^12, 0) holds nothing, but rows
    if shape:
        allowance.check_rows(shape[0])
