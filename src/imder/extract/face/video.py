"""The picture of a video: frames at most so many times a second, with their times, from a file or from memory.

Frames keep their own times, so a variable frame rate needs no special treatment. One frame is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from imder.extract.decoded import DecodedFrames, Image
from imder.extract.face.video_file import VideoFile

MAX_SIDE = 1280
"""Larger frames are reduced. The detector finds faces of a fifth of the frame or more, whose crops need no more pixels."""

_EARLY = 1e-3  # seconds by which a frame may be early, since times in files are rounded
_GAP = 1.0  # seconds from frame to frame; longer ones, also by five times the median, are gaps


class Video:
    """The picture of a file, or frames in memory.

    Args:
        source: a file, or frames in memory. Those of a file can be iterated repeatedly.
        fps: most frames a second.

    Attributes:
        count: number of frames so far.
    """

    def __init__(self, source: Path | DecodedFrames, fps: float) -> None:
        self._source = VideoFile(source) if isinstance(source, Path) else source
        self._fps = fps
        self.count = 0
        self._times: list[float] = []

    @property
    def has_picture(self) -> bool:
        """Whether the file has one; known when `frames` has begun."""
        return self._source.has_picture

    @property
    def seconds(self) -> float:
        """Time from the start of the file to the end of the last frame; known when `frames` is exhausted."""
        return self._source.seconds

    @property
    def remarks(self) -> list[str]:
        """Remarks on reading, such as a damaged end."""
        return self._source.remarks

    @property
    def frame_seconds(self) -> float:
        """Mean time from frame to frame, without gaps and the time before the first."""
        steps = np.diff([*self._times, self.seconds])
        return float(steps[steps <= max(_GAP, 5 * np.median(steps))].mean()) if len(steps) else 0.0

    def frames(self) -> Iterator[tuple[float, Image]]:
        """Times in seconds and images ``(H, W, 3)`` of 8 bits.

        Raises:
            ImderError: the file can't be read, nothing of its picture can be decoded, or frames aren't as they should be.
        """
        self.count, slot = 0, -1
        self._times.clear()
        for time, image in self._source.frames():
            if int((time + _EARLY) * self._fps) > slot:
                slot = int((time + _EARLY) * self._fps)
                self.count += 1
                self._times.append(time)
                yield time, reduced_image(image())


def reduced_image(image: Image) -> Image:
    """An image of no more than `MAX_SIDE` pixels on either side."""
    import av

    height, width = image.shape[:2]
    scale = MAX_SIDE / max(width, height)
    if scale >= 1:
        return image
    size = {"width": max(1, round(width * scale)), "height": max(1, round(height * scale))}
    return av.VideoFrame.from_ndarray(image, format="rgb24").reformat(**size).to_ndarray().astype(np.uint8, copy=False)
