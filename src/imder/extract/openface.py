"""OpenFace's tables, of any version: a row for each frame and face.

Separators are commas or semicolons, with optional blanks after them in the header. ``face_id`` is present if several faces
were tracked, ``confidence`` and ``success`` nearly always. Of several faces, the one with the largest mean confidence is used.
Frames in which the tracker failed (``success`` 0, or values that are not numbers) are left out and counted. An incomplete
last row is left out with a remark; an incomplete row elsewhere is an error.

OpenFace 2 (Baltrusaitis et al., FG 2018) writes 709 features: gaze 8, eye landmarks 112 + 168, head pose 6, landmarks
136 + 204, shape parameters 40, action units 17 intensities + 18 presences.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

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
_TRACKING = ("face_id", "timestamp", "confidence", "success")


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
                f"--vision: unknown columns {name!r}; known are {', '.join(GROUPS)}, several joined by +, and none"
            )
        columns += GROUPS[name]
    if len(set(columns)) < len(columns):
        raise ImderError(f"--vision: {text}: columns repeat")
    return tuple(columns)


@dataclass(frozen=True)
class Tracked:
    """One face of a table.

    Attributes:
        values: ``(T, D)`` float32, the selected columns, frames in order.
        times: ``(T,)`` seconds; None without timestamps.
        seconds: duration of the table, frames that were left out included; None without timestamps.
        frame_seconds: median seconds from frame to frame; None without timestamps.
        untracked: number of frames left out because the tracker failed.
        faces: number of faces in the table.
        broken_off: whether the last row was incomplete.
    """

    values: NDArray[np.float32]
    times: NDArray[np.float64] | None
    seconds: float | None
    frame_seconds: float | None
    untracked: int
    faces: int
    broken_off: bool


def read_header(path: Path) -> tuple[str, ...]:
    """The names of a table's columns.

    Raises:
        ImderError: the file can't be read, or isn't a table of OpenFace.
    """
    with _opened(path) as file:
        return _header(path, file.readline())


def _header(path: Path, line: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in line.split(_separator(line)))
    if not line.strip():
        raise ImderError(f"{path}: the file is empty")
    if not any(name in GROUPS["sims"] for name in names):
        raise ImderError(f"{path}: none of its columns is OpenFace's (the first is {names[0][:40]!r})")
    repeated = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if repeated:
        raise ImderError(f"{path}: the column {min(repeated)!r} occurs twice")
    return names


def _separator(line: str) -> str:
    return ";" if line.count(";") > line.count(",") else ","


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
    """Read the face that was tracked with the largest mean confidence.

    Args:
        path: the CSV.
        columns: see `columns_of`.

    Raises:
        ImderError: the file can't be read, lacks columns, or has an incomplete row that isn't the last.
    """
    with _opened(path) as file:
        return _tracked(path, file, columns)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """The open file; raises an `ImderError` if it can't be read or isn't text."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield file
    except OSError as error:
        raise ImderError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise ImderError(f"{path}: is not text, so not a table of OpenFace") from None


def _tracked(path: Path, file: TextIO, columns: str) -> Tracked:
    header = file.readline()
    names = _header(path, header)
    check_columns(path, names, columns)
    index = {name: i for i, name in enumerate(names)}
    selected = [index[name] for name in columns_of(columns)]
    tracking_names = [name for name in _TRACKING if name in index]
    values, table, broken_off = _numbers(
        path, file, _separator(header), len(names), selected, [index[name] for name in tracking_names]
    )
    tracking = {name: table[:, i] for i, name in enumerate(tracking_names)}
    times = tracking.get("timestamp")
    frame_seconds = None if times is None else _frame_seconds(times)
    seconds = (
        None
        if times is None or frame_seconds is None
        else float(times[np.isfinite(times)].max(initial=0.0)) + frame_seconds
    )
    tracked = np.isfinite(values).all(axis=1)
    faces, best = 1, np.ones(len(values), bool)
    if "face_id" in tracking:
        best, faces = _best_face(tracking)
    if "success" in tracking:
        tracked &= tracking["success"] == 1
    kept = best & tracked
    times = None if times is None else times[kept]
    return Tracked(values[kept], times, seconds, frame_seconds, int((best & ~tracked).sum()), faces, broken_off)


def _numbers(
    path: Path, file: Iterable[str], separator: str, width: int, selected: list[int], tracking: list[int]
) -> tuple[NDArray[np.float32], NDArray[np.float64], bool]:
    """Two selections of columns, ``(T, selected)`` and ``(T, tracking)``, and whether the last row is incomplete.

    Rows are read one by one, so memory holds the selected columns only, not the 714 that OpenFace writes.
    """
    values: list[NDArray[np.float32]] = []
    tracking_rows: list[NDArray[np.float64]] = []
    short: tuple[int, str] | None = None  # a row with too few values, allowed only as the last
    for i, line in enumerate(file, start=2):
        blank = not line.strip()
        if short is not None and not blank:
            cells = len(short[1].split(separator))
            raise ImderError(f"{path}: line {short[0]}: {cells} values where the header has {width} columns")
        parts = line.split(separator)
        if blank or len(parts) < width:
            short = short or (i, line)
            continue
        if len(parts) != width:
            raise ImderError(f"{path}: line {i}: {len(parts)} values where the header has {width} columns")
        try:
            row = np.array(parts, np.float64)
        except ValueError:
            row = np.array([_number(path, i, part) for part in parts])
        with np.errstate(over="ignore"):
            values.append(row[selected].astype(np.float32))
        tracking_rows.append(row[tracking])
    broken_off = short is not None and bool(short[1].strip())
    if not values:
        return np.zeros((0, len(selected)), np.float32), np.zeros((0, len(tracking))), broken_off
    return np.stack(values), np.stack(tracking_rows), broken_off


def _frame_seconds(times: NDArray[np.float64]) -> float:
    """Median seconds between frames, tracked or not; 0 for a single frame."""
    distinct = np.unique(times[np.isfinite(times)])
    return float(np.median(np.diff(distinct))) if len(distinct) > 1 else 0.0


def _number(path: Path, line: int, text: str) -> float:
    """Parse a number; OpenFace's missing values, such as ``-nan(ind)``, become NaN."""
    word = text.strip().lower().lstrip("+-")
    if word.startswith(("nan", "inf", "1.#")):
        return float("nan")
    try:
        return float(word) if text.strip()[:1] != "-" else -float(word)
    except ValueError:
        raise ImderError(f"{path}: line {line}: {text.strip()[:40]!r} is not a number") from None


def _best_face(tracking: Mapping[str, NDArray[np.float64]]) -> tuple[NDArray[np.bool_], int]:
    """The rows of the face with the largest mean confidence (on a tie the longest, then the first), and the number of faces."""
    ids = tracking["face_id"]
    faces = np.unique(ids)
    if len(faces) < 2:
        return np.ones(len(ids), bool), len(faces)
    confidence = tracking.get("confidence", np.zeros(len(ids)))
    best = max(faces, key=lambda face: (confidence[ids == face].mean(), (ids == face).sum(), -face))
    return ids == best, len(faces)
