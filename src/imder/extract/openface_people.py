"""The people in a table of OpenFace: which faces are the same person, and who is there longest.

OpenFace numbers faces, and a face that it loses and finds again gets a new number. Two numbers may be one person if they never
share a frame and the second appears where the first was last. Where a table doesn't say where faces are (neither head pose nor
landmarks), all numbers that never share a frame are one person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NEAR_MM = 150.0  # about the width of a head
_NEAR_EYES = 1.6  # distances between the outer corners of the eyes, about the width of a face


@dataclass
class _Face:
    """One number's rows: where and when it was tracked."""

    rows: NDArray[np.intp]
    start: float
    end: float
    first: NDArray[np.float64] | None
    last: NDArray[np.float64] | None


def longest_tracked(
    columns: Mapping[str, NDArray[np.float64]], tracked: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], int]:
    """The rows of the person tracked in most frames.

    Args:
        columns: ``face_id``, ``timestamp`` (s) or ``frame``, ``confidence``, and ``pose_Tx``, ``pose_Ty`` (mm) or ``x_36``,
            ``y_36``, ``x_45``, ``y_45`` (pixels), ``(T,)`` each, as far as the table has them.
        tracked: ``(T,)``, whether the row's frame was tracked.

    Returns:
        Mask ``(T,)`` of that person's rows, and the number of people. Equal numbers of frames are decided by the mean
        confidence, then by who came first.
    """
    ids = columns.get("face_id")
    if ids is None or len(np.unique(ids)) < 2:
        return np.ones(len(tracked), bool), 1
    moments = next((columns[name] for name in ("timestamp", "frame") if name in columns), None)
    where, near = _positions(columns, len(ids))
    faces = [_face(np.flatnonzero(ids == face), moments, where, tracked) for face in np.unique(ids[np.isfinite(ids)])]
    people: list[list[_Face]] = []
    for face in sorted(faces, key=lambda face: face.start):
        before = [person for person in people if person[-1].end < face.start and _near(person[-1], face, near)]
        if before:
            max(before, key=lambda person: person[-1].end).append(face)
        else:
            people.append([face])
    confidence = columns.get("confidence", np.zeros(len(ids)))

    def rank(person: list[_Face]) -> tuple[int, float]:
        rows = np.concatenate([face.rows for face in person])
        counted = rows[tracked[rows]]
        return len(counted), float(np.nan_to_num(confidence[counted]).mean()) if len(counted) else 0.0

    chosen = np.zeros(len(ids), bool)
    for face in max(people, key=rank, default=[]):
        chosen[face.rows] = True
    return chosen, sum(bool(rank(person)[0]) for person in people) or 1


def _face(
    rows: NDArray[np.intp],
    moments: NDArray[np.float64] | None,
    where: NDArray[np.float64] | None,
    tracked: NDArray[np.bool_],
) -> _Face:
    counted = rows[tracked[rows]]
    counted = counted if len(counted) else rows
    if moments is None:
        # Without times nothing says that two numbers don't share a frame.
        start, end = 0.0, np.inf
    else:
        counted = counted[np.argsort(moments[counted], kind="stable")]
        start, end = float(moments[counted[0]]), float(moments[counted[-1]])
    ends = (None, None) if where is None else (where[counted[0]], where[counted[-1]])
    return _Face(rows, start, end, *ends)


def _positions(columns: Mapping[str, NDArray[np.float64]], count: int) -> tuple[NDArray[np.float64] | None, float]:
    """Position ``(T, 2)`` of each row's face and how near is near; landmarks are measured in distances between the eyes."""
    if {"pose_Tx", "pose_Ty"} <= columns.keys():
        return np.stack([columns["pose_Tx"], columns["pose_Ty"]], axis=1), _NEAR_MM
    names = ("x_36", "y_36", "x_45", "y_45")
    if not columns.keys() >= set(names):
        return None, np.inf
    corners = np.stack([columns[name] for name in names], axis=1).reshape(count, 2, 2)
    eyes = np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1)
    scale = float(np.median(eyes[eyes > 0])) if (eyes > 0).any() else 1.0
    return corners.mean(axis=1) / scale, _NEAR_EYES


def _near(earlier: _Face, later: _Face, near: float) -> bool:
    if earlier.last is None or later.first is None:
        return True
    distance = float(np.linalg.norm(later.first - earlier.last))
    return not distance > near  # a position that isn't a number says nothing
