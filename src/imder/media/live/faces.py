"""Faces in the latest frames of a stream: tracked in the order of time, of which only features are kept."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.extract.decoded import Image
from imder.extract.face.extractor import LARGEST, LONGEST, Track, bundle_of, select
from imder.extract.face.features import measure
from imder.extract.face.tracker import MAX_FACES, Tracker
from imder.extract.face.video import reduced_image
from imder.extract.recipe import FaceRecipe
from imder.media.live.clock import CLOSE

MOST_FRAMES = 64
"""Frames that wait for earlier ones."""
MAX_SIDE = 4096
"""Most pixels of a frame's side."""
_EARLY = 1e-3  # seconds by which a frame may be early, as in files
_INTERVALS = 64  # intervals between frames whose mean counts
_LONG = 3.0  # medians: a longer interval is a gap


@dataclass(frozen=True)
class _Face:
    """A face in a frame: its track, its features ``(D,)``, and its side in pixels."""

    time: float
    track: int
    values: NDArray[np.float32]
    side: float


class FaceBuffer:
    """Faces by their time.

    Args:
        recipe: the recipe of their features.
        seconds: how much is kept.

    Raises:
        ImderError: the models can't be found or read.
    """

    def __init__(self, recipe: FaceRecipe, seconds: float) -> None:
        self._recipe = recipe
        self._bundle = bundle_of(recipe.model, recipe.fingerprint)
        self._tracker = Tracker(self._bundle)
        self._waiting: list[tuple[float, int, Image]] = []
        self._count = 0
        self._last = -1.0
        self._slot = -1
        self._intervals: deque[float] = deque(maxlen=_INTERVALS)
        self._faces: deque[_Face] = deque(maxlen=int(seconds * recipe.fps * MAX_FACES) + 1)

    @property
    def size(self) -> int:
        """Number of faces and frames kept."""
        return len(self._faces) + len(self._waiting)

    @property
    def fps(self) -> int:
        """Most frames a second that count."""
        return self._recipe.fps

    @property
    def frame_seconds(self) -> float:
        """Mean time from frame to frame, gaps left out."""
        if not self._intervals:
            return 1 / self._recipe.fps
        most = _LONG * float(np.median(self._intervals))
        return float(np.mean([interval for interval in self._intervals if interval <= most]))

    def put(self, time: float, image: Image) -> bool:
        """Add a frame ``(H, W, 3)``; False if a later one was tracked already."""
        if time <= self._last:
            return False
        image = reduced_image(image)
        self._count += 1
        heapq.heappush(self._waiting, (time, self._count, image))
        if len(self._waiting) > MOST_FRAMES:
            self._track(*heapq.heappop(self._waiting)[::2])
        return True

    def track(self, until: float) -> None:
        """Track the faces of the frames that wait, up to a time."""
        while self._waiting and self._waiting[0][0] < until - CLOSE:
            time, _, image = heapq.heappop(self._waiting)
            self._track(time, image)

    def _track(self, time: float, image: Image) -> None:
        """Track the faces of a frame, unless that would exceed the recipe's frames a second."""
        slot = int((time + _EARLY) * self._recipe.fps)
        if slot <= self._slot or time <= self._last:
            return
        if self._slot >= 0:
            self._intervals.append(time - self._last)
        self._slot, self._last = slot, time
        height, width = image.shape[:2]
        for face in self._tracker(image):
            with_shape = self._recipe.columns != "face"
            values = measure(self._bundle, face.landmarks, width, height, with_shape=with_shape)
            if np.isfinite(values).all():
                self._faces.append(_Face(time, face.track, values, face.region.size))

    def cut(self, start: float, end: float, *, last: bool) -> tuple[NDArray[np.float32] | None, float]:
        """The features of the face that counts in ``start <= t < end``, and the share of that time that they cover.

        The face that is there longest, or the largest, is chosen for each window anew; a number counts from the start of
        the stream. ``last`` includes a frame at the end of the stream.
        """
        tracks: dict[int, Track] = {}
        for face in self._faces:
            if face.time >= start - CLOSE and (face.time <= end + CLOSE if last else face.time < end - CLOSE):
                track = tracks.setdefault(face.track, Track())
                track.times.append(face.time)
                track.rows.append(face.values)
                track.sides += face.side
        person = self._recipe.person
        if person in (LONGEST, LARGEST):
            track_chosen = select([tracks[number] for number in sorted(tracks)], person)
        else:
            track_chosen = tracks.get(int(person))
        if track_chosen is None:
            return None, 0.0
        share = min(1.0, len(track_chosen.times) * self.frame_seconds / (end - start))
        return np.stack(track_chosen.rows), share

    def forget(self, before: float) -> None:
        """Let go of faces before a time."""
        while self._faces and self._faces[0].time < before - CLOSE:
            self._faces.popleft()


def as_image(rgb: Any) -> Image | None:
    """A copy of an image ``(H, W, 3)`` of 8 bits; None for anything else."""
    try:
        image = np.array(rgb)
    except (TypeError, ValueError, OverflowError, MemoryError):
        return None
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not min(image.shape[:2]) >= 1:
        return None
    return image if max(image.shape[:2]) <= MAX_SIDE else None
