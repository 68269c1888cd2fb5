"""The picture of a video, decoded by PyAV (FFmpeg): upright frames at most so many times a second, with their times.

Time 0 is the start of the container, as for sound (`imder.extract.containers`). Frames keep their own times, so a variable frame
rate needs no special treatment. One frame is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imder.extract.containers import one_line
from imder.extract.face.region import Image
from imder.types import ImderError

MAX_SIDE = 1280
"""Larger frames are reduced. The detector finds faces of a fifth of the frame or more, whose crops need no more pixels."""

_SHORT = 0.25  # seconds that may be missing from the duration that a container states
_EARLY = 1e-3  # seconds by which a frame may be early, since times in files are rounded


@dataclass
class Video:
    """The picture of a file; `frames` can be iterated repeatedly.

    Attributes:
        path: the file.
        fps: most frames a second.
        has_picture: whether the file has one; set by `frames`.
        count: number of frames so far.
        seconds: time from the start of the file to the end of the last frame; set when `frames` is exhausted.
        remarks: remarks on reading, such as a damaged end.
    """

    path: Path
    fps: float
    has_picture: bool = True
    count: int = 0
    seconds: float = 0.0
    remarks: list[str] = field(default_factory=list)
    _length: float = 0.0  # seconds from frame to frame, on average

    @property
    def frame_seconds(self) -> float:
        """Mean time from frame to frame."""
        return self.seconds / self.count if self.count else 0.0

    def frames(self) -> Iterator[tuple[float, Image]]:
        """Times in seconds and images ``(H, W, 3)`` of 8 bits.

        Raises:
            ImderError: the file can't be read, or nothing of its picture can be decoded.
        """
        import av

        self.count, self.seconds, self.has_picture = 0, 0.0, True
        self.remarks.clear()
        if not self.path.is_file():
            raise ImderError(f"{self.path}: there is no such file")
        try:
            container = av.open(str(self.path))
        except (av.FFmpegError, ValueError) as error:
            raise ImderError(f"{self.path}: FFmpeg can't read it ({one_line(error)})") from None
        with container:
            stream = next((s for s in container.streams.video if not _is_cover(s)), None)
            if stream is None:
                self.has_picture = False
                return
            stream.thread_count = torch.get_num_threads()
            stream.thread_type = "AUTO"
            yield from self._images(container, stream)
            if not self.count:
                raise ImderError(f"{self.path}: the picture can't be decoded")
            stated = float((container.duration or 0) / av.time_base)
            if stream.duration and stream.time_base:
                stated = float(stream.duration * stream.time_base)
            stated = max(stated, stream.frames * self._length)  # some containers' durations are those of what is left
            if self.seconds < 0.99 * stated - _SHORT and not self.remarks:
                self.remarks.append(f"the picture ends after {self.seconds:.2f} s of {stated:.2f} s")

    def _images(self, container: Any, stream: Any) -> Iterator[tuple[float, Image]]:
        import av

        origin = (container.start_time or 0) / av.time_base
        self._length = length = 1 / float(stream.average_rate or stream.guessed_rate or 25)
        sizes = _Sizes(stream)
        slot, time = -1, -length
        for frame in self._decoded(container, stream):
            stated = time + length if frame.time is None else float(frame.time) - origin
            time = stated if stated > time else time + length  # times that go back are wrong
            self.seconds = time + length
            if int((time + _EARLY) * self.fps) > slot:
                slot = int((time + _EARLY) * self.fps)
                self.count += 1
                yield time, _upright(frame, *sizes(frame))

    def _decoded(self, container: Any, stream: Any) -> Iterator[Any]:
        """Decoded frames; packets that can't be decoded are passed over and counted."""
        import av

        packets, damaged, reason = container.demux(stream), 0, ""
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except av.FFmpegError as error:
                damaged, reason = damaged + 1, one_line(error)
                break
            try:
                yield from packet.decode()
            except av.FFmpegError as error:
                damaged, reason = damaged + 1, one_line(error)
        if damaged:
            self.remarks.append(f"{damaged} packets of the picture can't be decoded ({reason})")


class _Sizes:
    """The width and height to which a frame is scaled: square pixels, and no more than `MAX_SIDE`."""

    def __init__(self, stream: Any) -> None:
        self._aspect = float(stream.codec_context.sample_aspect_ratio or 1)

    def __call__(self, frame: Any) -> tuple[int, int]:
        width, height = frame.width * self._aspect, float(frame.height)
        scale = min(1.0, MAX_SIDE / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))


def _upright(frame: Any, width: int, height: int) -> Image:
    """A frame as it is shown: phones store how they were held beside the picture."""
    image: Image = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
    turns = round(frame.rotation / 90) % 4  # quarters, anticlockwise
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _is_cover(stream: Any) -> bool:
    """Whether a picture is the cover of a sound file."""
    return "attached_pic" in str(getattr(stream, "disposition", "")).lower()
