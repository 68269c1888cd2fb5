"""OpenFace's tables, of any version: a row for each frame and face.

``face_id`` is present if several faces were tracked, ``confidence`` and ``success`` nearly always. Of several people, the one
tracked longest is used (`imder.extract.openface_people`). Frames in which the tracker failed (``success`` 0, or a value or time
that is not a number) are left out and counted. An incomplete last row is left out with a remark; an incomplete row elsewhere is
an error.

OpenFace 2 (Baltrusaitis et al., FG 2018) writes 709 features: gaze 8, eye landmarks 112 + 168, head pose 6, landmarks
136 + 204, shape parameters 40, action units 17 intensities + 18 presences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imder.extract.openface_people import longest_tracked
from imder.extract.openface_table import open_table
from imder.types import ImderError

_UNITS = ("01", "02", "04", "05", "06", "07", "09", "10", "12", "14", "15", "17", "20", "23", "25", "26", "45")
_XYZ = ("x", "y", "z")

GAZE = (*(f"gaze_{eye}_{axis}" for eye in (0, 1) for axis in _XYZ), "gaze_angle_x", "gaze_angle_y")
POSE = tuple(f"pose_{kind}{axis}" for kind in "TR" for axis in _XYZ)
UNITS = (*(f"AU{unit}_r" for unit in _UNITS), *(f"AU{unit}_c" for unit in (*_UNITS[:-1], "28", "45")))
LANDMARKS = tuple(f"{axis}_{point}" for axis in "xy" for point in range(68))
_EYES = tuple(f"eye_lmk_{axis}_{point}" for axis in "xyXYZ" for point in range(56))
_SPACE = tuple(f"{axis}_{point}" for axis in "XYZ" for point in range(68))
_SHAPE = (*(f"p_{name}" for name in ("scale", "rx", "ry", "rz", "tx", "ty")), *(f"p_{i}" for i in range(34)))

GROUPS = {
    "gaze": GAZE,
    "pose": POSE,
    "aus": UNITS,
    "landmarks": LANDMARKS,
    "cues": (*GAZE, *POSE, *UNITS),
    "sims": (*GAZE, *_EYES, *POSE, *LANDMARKS, *_SPACE, *_SHAPE, *UNITS),
}
"""Columns by name: four groups, and two presets."""
_KNOWN = frozenset(GROUPS["sims"])
_TRACKING = ("face_id", "timestamp", "success")
_HINTS = ("frame", "confidence", "pose_Tx", "pose_Ty", "x_36", "y_36", "x_45", "y_45")


def columns_of(text: str) -> tuple[str, ...]:
    """The columns of a preset, or of groups joined by ``+``.

    Raises:
        ImderError: a name is unknown, or columns repeat.

    >>> [len(columns_of(name)) for name in ("cues", "sims", "pose+aus", "landmarks")]
    [49, 709, 41, 136]
    """
    columns: list[str] = []
    for name in text.split("+"):
        if name not in GROUPS:
            raise ImderError(
                f"--vision: unknown columns {name!r}; known are face, face+landmarks, OpenFace's "
                f"{', '.join(GROUPS)}, several joined by +, and none"
            )
        columns += GROUPS[name]
    if len(set(columns)) < len(columns):
        raise ImderError(f"--vision: {text}: columns repeat")
    return tuple(columns)


@dataclass(frozen=True)
class Tracked:
    """One person's face in a table.

    Attributes:
        values: ``(T, D)`` float32, the selected columns, frames in order.
        times: ``(T,)`` seconds; None without timestamps.
        seconds: duration of the table, frames that were left out included; None without timestamps.
        frame_seconds: median seconds from frame to frame; None without timestamps.
        untracked: number of frames left out because the tracker failed.
        people: number of people in the table.
        broken_off: whether the last row was incomplete.
    """

    values: NDArray[np.float32]
    times: NDArray[np.float64] | None
    seconds: float | None
    frame_seconds: float | None
    untracked: int
    people: int
    broken_off: bool


def read_header(path: Path) -> tuple[str, ...]:
    """The names of a table's columns.

    Raises:
        ImderError: the file can't be read, or isn't a table of OpenFace.
    """
    with open_table(path) as table:
        _check_openface(path, table.names)
        return table.names


def is_foreign(path: Path) -> bool:
    """Whether a file is a table without any of OpenFace's columns; False where it can't be read."""
    try:
        with open_table(path) as table:
            return not any(name in _KNOWN for name in table.names)
    except ImderError:
        return False


def _check_openface(path: Path, names: Sequence[str]) -> None:
    if not any(name in _KNOWN for name in names):
        raise ImderError(f"{path}: none of its columns is OpenFace's (the first is {names[0][:40]!r})")


def check_columns(path: Path, names: Sequence[str], columns: str) -> None:
    """Raise an `ImderError` if a table lacks columns; the message names options that would work."""
    missing = [name for name in columns_of(columns) if name not in names]
    if not missing:
        return
    whole = [group for group in ("gaze", "pose", "aus", "landmarks") if set(GROUPS[group]) <= set(names)]
    advice = f"; it has those of --vision {'+'.join(whole)}" if whole else ""
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    raise ImderError(f"{path}: lacks the column {missing[0]!r}{more} of --vision {columns}{advice}")


def read_openface(path: Path, columns: str) -> Tracked:
    """Read the face of the person tracked longest.

    Args:
        path: the table; see `imder.extract.openface_table` for the forms that are read.
        columns: see `columns_of`.

    Raises:
        ImderError: the file can't be read, lacks columns, or has an incomplete row that isn't the last.
    """
    with open_table(path) as table:
        _check_openface(path, table.names)
        check_columns(path, table.names, columns)
        selected = columns_of(columns)
        tracking_names = [name for name in _TRACKING if name in table.names]
        hint_names = [name for name in _HINTS if name in table.names]
        values, tracking_values, hints, broken_off = table.numbers(selected, tracking_names, hint_names)
    tracking = dict(zip([*tracking_names, *hint_names], [*tracking_values.T, *hints.T], strict=True))
    tracked = np.ones(len(values), bool)
    tracked &= np.isfinite(values).all(axis=1)
    if "success" in tracking:
        tracked &= tracking["success"] == 1
    times = tracking.get("timestamp")
    if times is not None and not np.isfinite(times).any():
        del tracking["timestamp"]
        times = None
    if times is not None:
        tracked &= np.isfinite(times)
    person, people = longest_tracked(tracking, tracked)
    frame_seconds, seconds = None, None
    if times is not None:
        frame_seconds = _frame_seconds(times)
        seconds = float(times[np.isfinite(times)].max(initial=0.0)) + frame_seconds
    kept = np.flatnonzero(person & tracked)
    if times is not None:
        kept = kept[np.argsort(times[kept], kind="stable")]
    return Tracked(
        values[kept],
        None if times is None else times[kept],
        seconds,
        frame_seconds,
        int((person & ~tracked).sum()),
        people,
        broken_off,
    )


def _frame_seconds(times: NDArray[np.float64]) -> float:
    """Median seconds between frames, tracked or not; 0 for a single frame."""
    distinct = np.unique(times[np.isfinite(times)])
    return float(np.median(np.diff(distinct))) if len(distinct) > 1 else 0.0
