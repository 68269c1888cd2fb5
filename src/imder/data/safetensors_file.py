"""Safetensors files larger than memory: written piece by piece, read through a memory map.

A file is the size of its header (8 bytes, little-endian), the header (JSON: dtype, shape and data offsets of each tensor),
and the raw data of all tensors. Values are read from disk on access.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.types import ImderError

_DTYPES: dict[str, np.dtype[Any]] = {
    "I64": np.dtype("<i8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BOOL": np.dtype("?"),
}
_LONGEST_HEADER = 100_000_000


class Tensor:
    """One tensor to write: its dtype, its shape, and its values in pieces along the first axis."""

    def __init__(self, dtype: str, shape: tuple[int, ...], pieces: Iterable[NDArray[Any]]) -> None:
        self.dtype, self.shape, self.pieces = dtype, shape, pieces

    @property
    def nbytes(self) -> int:
        """Size of the values in the file."""
        return math.prod(self.shape) * _DTYPES[self.dtype].itemsize


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file. The widest dtypes come first and the header is padded, so every tensor is aligned.

    Raises:
        ValueError: a tensor's pieces don't add up to its shape.
    """
    order = sorted(tensors, key=lambda name: -_DTYPES[tensors[name].dtype].itemsize)
    header: dict[str, Any] = {}
    end = 0
    for name in order:
        tensor = tensors[name]
        header[name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [end, end + tensor.nbytes],
        }
        end += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            written = 0
            for piece in tensors[name].pieces:
                written += file.write(np.ascontiguousarray(piece, _DTYPES[tensors[name].dtype]).data.cast("B"))
            if written != tensors[name].nbytes:
                raise ValueError(f"{name}: {written} bytes for the shape {tensors[name].shape}")


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors file: read-only views of a memory map.

    Raises:
        ImderError: the file is missing, truncated, or its header contradicts itself; the message names file and tensor.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _LONGEST_HEADER):
                raise ImderError(f"{path}: truncated: a header of {length} bytes in a file of {size}")
            header = json.loads(file.read(length))
        entries = {
            name: _entry(path, name, entry, size - 8 - length)
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except OSError as error:
        raise ImderError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, ImderError):
            raise
        raise ImderError(f"{path}: the header is damaged") from None
    raw = np.memmap(path, np.uint8, "r")
    views = {}
    for name, (dtype, shape, begin, end) in entries.items():
        view = raw[8 + length + begin : 8 + length + end].view(dtype).reshape(shape)
        views[name] = view.astype(dtype.newbyteorder("="), copy=False)
    return views


def _entry(path: Path, name: str, entry: Any, size: int) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    """Dtype, shape, begin and end of one tensor, checked against the ``size`` of the data."""
    try:
        dtype, shape, (begin, end) = _DTYPES[entry["dtype"]], tuple(entry["shape"]), entry["data_offsets"]
        valid = all(type(n) is int and n >= 0 for n in (*shape, begin, end))
    except (KeyError, TypeError, ValueError):
        valid = False
    if not valid or begin > end or end - begin != math.prod(shape) * dtype.itemsize:
        raise ImderError(f"{path}: {name}: its entry in the header is damaged")
    if end > size:
        raise ImderError(f"{path}: {name}: truncated: it ends at byte {end} of the data, of which there are {size}")
    return dtype, shape, begin, end
