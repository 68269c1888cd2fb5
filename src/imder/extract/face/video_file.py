"""The picture of a video file, decoded by PyAV (FFmpeg): upright frames with their times.

Time 0 is the start of the container, as for sound (`imder.extract.containers`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imder.extract.container_lengths import cut_short
from imder.extract.container_times import ContinuousTimes, stated_end
from imder.extract.containers import SHORT, one_line, unreadable
from imder.extract.decoded import Image
from imder.types import ImderError


class VideoFile:
    """The picture of a file; `frames` can be iterated repeatedly.

    Attributes:
        path: the file.
        has_picture: whether the file has one; set by `frames`.
        seconds: time from the start of the file to the end of the last frame; set by `frames`.
        remarks: remarks on reading, such as a damaged end; filled by `frames`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.has_picture = True
        self.seconds = 0.0
        self.remarks: list[str] = []
        self._length = 0.0  # seconds from frame to frame, on average

    def frames(self) -> Iterator[tuple[float, Callable[[], Image]]]:
        """Times in seconds, and functions that return the image ``(H, W, 3)``, upright and with square pixels.

        Raises:
            ImderError: the file can't be read, or nothing of its picture can be decoded.
        """
        import av

        self.seconds, self.has_picture, count = 0.0, True, 0
        self.remarks.clear()
        if not self.path.is_file():
            raise ImderError(f"{self.path}: there is no such file")
        try:
            container = av.open(str(self.path))
        except (av.FFmpegError, ValueError) as error:
            raise ImderError(f"{self.path}: FFmpeg can't read it ({unreadable(self.path, error)})") from None
        with container:
            stream = next((s for s in container.streams.video if not _is_cover(s)), None)
            if stream is None:
                self.has_picture = False
                return
            if stream.codec_context is None:
                raise ImderError(f"{self.path}: the picture can't be decoded (FFmpeg has no decoder for it)")
            stream.thread_count = torch.get_num_threads()
            stream.thread_type = "AUTO"
            aspect = float(stream.codec_context.sample_aspect_ratio or 1)
            for time, frame in self._timed(container, stream):
                count += 1
                yield time, partial(_upright, frame, aspect)
            if not count:
                raise ImderError(f"{self.path}: the picture can't be decoded")
            self._check_end(container, stream)

    def _timed(self, container: Any, stream: Any) -> Iterator[tuple[float, Any]]:
        """Decoded frames and their times in seconds."""
        import av

        clock = ContinuousTimes((container.start_time or 0) / av.time_base)
        self._length = length = 1 / float(stream.average_rate or stream.guessed_rate or 25)
        time = -length
        for frame in self._decoded(container, stream):
            stated = time + length if frame.time is None else clock(float(frame.time), time + length)
            time = stated if stated > time else time + length  # times that go back are wrong
            self.seconds = time + length
            yield time, frame
        if clock.jump:
            self.remarks.append(clock.jump)

    def _check_end(self, container: Any, stream: Any) -> None:
        """Add a remark if the picture ends early."""
        import av

        stated, _ = stated_end(container, stream, (container.start_time or 0) / av.time_base)
        if container.format.name == "avi":  # its duration is that of what is left
            stated = max(stated, stream.frames * self._length)
        if self.remarks:
            return
        if cut := cut_short(self.path):
            self.remarks.append(cut)
        elif self.seconds < 0.99 * stated - SHORT:
            self.remarks.append(f"the picture ends after {self.seconds:.2f} s of {stated:.2f} s")

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


def _upright(frame: Any, aspect: float) -> Image:
    """A frame as it is shown, with square pixels: phones store how they were held beside the picture."""
    width = max(1, round(frame.width * aspect))
    image: Image = frame.reformat(width=width, format="rgb24").to_ndarray()
    turns = round(frame.rotation / 90) % 4  # quarters, anticlockwise
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _is_cover(stream: Any) -> bool:
    """Whether a picture is the cover of a sound file."""
    from av.stream import Disposition

    return bool(Disposition(stream.disposition) & Disposition.attached_pic)
