"""The canonical face: where its landmarks are in centimetres, and how much each counts for the pose.

Both are in ``face_landmarker.task``, as a protocol buffer that MediaPipe's ``geometry_pipeline_metadata.proto`` describes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MESH, _BASIS = 1, 2  # fields of the metadata
_VERTICES = 3  # of the mesh: x, y, z, u, v of each landmark
_LANDMARK, _WEIGHT = 1, 2  # of an entry of the basis
_VERTEX_SIZE = 5


@dataclass(frozen=True)
class CanonicalFace:
    """The canonical face.

    Attributes:
        points: ``(468, 3)`` landmarks in centimetres; x to the right of the image, y up, z to the viewer.
        weights: ``(468,)`` weights of the landmarks in the fit of the pose, most of them 0.
    """

    points: NDArray[np.float64]
    weights: NDArray[np.float64]


def read_canonical(content: bytes) -> CanonicalFace:
    """The canonical face of a protocol buffer.

    Raises:
        ValueError: the content is no such buffer.
    """
    numbers: list[float] = []
    weights: dict[int, float] = {}
    for field, value in _fields(content):
        if field == _MESH and isinstance(value, bytes):
            numbers += [_float(v) for f, v in _fields(value) if f == _VERTICES]
        elif field == _BASIS and isinstance(value, bytes):
            entry = dict(_fields(value))
            weights[int(entry.get(_LANDMARK, 0))] = _float(entry.get(_WEIGHT, bytes(4)))
    points = np.array(numbers).reshape(-1, _VERTEX_SIZE)[:, :3]
    if not len(points) or not weights or max(weights) >= len(points):
        raise ValueError("no canonical face")
    return CanonicalFace(points, np.array([weights.get(i, 0.0) for i in range(len(points))]))


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The numbers and values of a message's fields: an integer, or the bytes of a float, a text or a message."""
    i = 0
    while i < len(content):
        key, i = _varint(content, i)
        kind = key & 7
        if kind == 0:
            value, i = _varint(content, i)
            yield key >> 3, value
            continue
        size, i = _varint(content, i) if kind == 2 else ({1: 8, 5: 4}.get(kind, 0), i)
        if kind not in (1, 2, 5) or i + size > len(content):
            raise ValueError("not a protocol buffer")
        yield key >> 3, content[i : i + size]
        i += size


def _varint(content: bytes, i: int) -> tuple[int, int]:
    """An integer of seven bits a byte, and the index behind it."""
    value = shift = 0
    while i < len(content):
        byte = content[i]
        value |= (byte & 127) << shift
        shift, i = shift + 7, i + 1
        if byte < 128:
            return value, i
    raise ValueError("a protocol buffer that ends early")


def _float(value: int | bytes) -> float:
    if not isinstance(value, bytes) or len(value) != 4:
        raise ValueError("no number of 32 bits")
    return float(struct.unpack("<f", value)[0])
