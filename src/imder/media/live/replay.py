"""Files as a live stream: sound, frames and words in the order of their times, at a speed."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from imder.extract.cues import Cue
from imder.extract.face.video import Video
from imder.extract.media import NoSoundTrack
from imder.extract.sound_file import SoundFile
from imder.media.stream import Stream

PIECE = 0.1
"""Seconds of a piece of sound, as a microphone hands them on."""
_FPS = 10  # frames a second that only tell the time
_ROUNDING = 1e-6

Push = Callable[[], None]
Timed = tuple[float, Push]
"""The time in seconds at which something is pushed, and the push."""


@dataclass
class Replay:
    """Files that are pushed into a stream.

    Attributes:
        video: a video, whose sound is used unless there is ``audio``.
        audio: a sound file.
        cues: words with their times.
        speed: seconds of the recording in a second; 0 for as fast as possible.
        until: the time at which to end; None for the end of the recording.
        seconds: the time that has been reached; afterwards the length of the recording.
        remarks: remarks on reading the files.
    """

    video: Path | None = None
    audio: Path | None = None
    cues: Iterable[Cue] = ()
    speed: float = 1.0
    until: float | None = None
    seconds: float = 0.0
    remarks: list[str] = field(default_factory=list)

    def into(self, stream: Stream) -> None:
        """Push everything, and close the stream.

        Args:
            stream: the stream; with ``speed`` 0 one that blocks.

        Raises:
            ImderError: a file can't be read, or the system failed.
        """
        begin = time.monotonic()
        sources = [self._sound(stream), self._frames(stream), self._words(stream)]
        for at, push in heapq.merge(*sources, key=lambda timed: timed[0]):
            if self.until is not None and at > self.until:
                self.seconds = self.until
                break
            if self.speed and (wait := begin + at / self.speed - time.monotonic()) > 0:
                time.sleep(wait)
            push()
        stream.close(self.seconds or None)

    def _sound(self, stream: Stream) -> Iterator[Timed]:
        path = self.audio or self.video
        if path is None:
            return
        source = SoundFile(path)
        count, start = 0, 0.0
        try:
            for rate, samples in source.pieces():
                size = max(1, int(PIECE * rate))
                for first in range(0, len(samples), size):
                    piece = samples[first : first + size]
                    end = start + (first + len(piece)) / rate
                    if any(a <= end - len(piece) / rate + _ROUNDING and end <= b + _ROUNDING for a, b in source.gaps):
                        yield end, lambda end=end: stream.advance(end)  # type: ignore[misc]
                    else:
                        at = start + first / rate
                        yield end, lambda p=piece, r=rate, at=at: stream.push_audio(p, r, at)  # type: ignore[misc]
                count += len(samples)
                start += len(samples) / rate
                self.seconds = max(self.seconds, start)
        except NoSoundTrack:
            if self.audio is not None:
                raise
            self.remarks.append(f"{path.name}: a video without sound")
        self.remarks += source.remarks

    def _frames(self, stream: Stream) -> Iterator[Timed]:
        if self.video is None:
            return
        picture = Video(self.video, stream.fps or _FPS)
        for at, image in picture.frames():
            if stream.fps is None:
                yield at, lambda at=at: stream.advance(at)  # type: ignore[misc]
            else:
                yield at, lambda at=at, image=image: stream.push_frame(image, at)  # type: ignore[misc]
        self.seconds = max(self.seconds, picture.seconds)
        self.remarks += picture.remarks

    def _words(self, stream: Stream) -> Iterator[Timed]:
        for cue in sorted(self.cues, key=lambda cue: cue.start):
            yield max(0.0, cue.start), lambda cue=cue: stream.push_words([cue])  # type: ignore[misc]
