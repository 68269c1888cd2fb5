"""Sound from any file, a little at a time.

soundfile reads wav, flac, ogg, mp3 and their kind; everything else, and the sound of videos, is decoded by PyAV (FFmpeg).
Channels are averaged. Resampling is soxr's, streamed, which gives what it gives on the whole signal, so that an hour
needs no more memory than a minute.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imder.types import ImderError

Samples = NDArray[np.float32]

_CHUNK = 1 << 18  # samples read at a time
_CAREFUL = 1 << 12
_SHORT = 0.25  # seconds that a container may promise and not hold


class NoSoundTrack(ImderError):
    """A video without sound: nothing is wrong with it."""


@dataclass
class Sound:
    """The mono signal of a file at a rate, to be gone through as often as needed.

    Attributes:
        path: the file.
        rate: samples per second.
        remarks: what was noticed while reading, such as a damaged end; filled by going through `chunks`.
        seconds: how long it is, once `chunks` was gone through to its end.
    """

    path: Path
    rate: int
    remarks: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def chunks(self) -> Iterator[Samples]:
        """The signal in pieces of any sizes, each ``(n,)`` in about [-1, 1].

        Raises:
            ImderError: the file can't be read, has no sound, or holds what isn't a number.
            NoSoundTrack: a video without sound.
        """
        self.remarks.clear()
        count = 0
        for piece in _resampled(self._decoded(), self.rate):
            if not np.isfinite(piece).all():
                raise ImderError(f"{self.path}: the sound holds values that are not finite")
            count += len(piece)
            if len(piece):
                yield piece
        if count == 0:
            raise ImderError(f"{self.path}: the sound is empty")
        self.seconds = count / self.rate

    def _decoded(self) -> Iterator[tuple[int, Samples]]:
        """(rate, mono piece) as the file has them."""
        import soundfile

        if not self.path.is_file():
            raise ImderError(f"{self.path}: there is no such file")
        if self.path.stat().st_size == 0:
            raise ImderError(f"{self.path}: the file is empty")
        try:
            file = soundfile.SoundFile(self.path)
        except soundfile.SoundFileError:  # not one of soundfile's formats
            yield from self._decoded_by_av()
            return
        with file:
            start, step = 0, _CHUNK
            while True:
                try:
                    if step == _CAREFUL:
                        file.seek(start)
                    piece = file.read(step, dtype="float32", always_2d=True)
                except soundfile.SoundFileError as error:
                    if step > _CAREFUL:  # all of this piece is lost: take it again in small ones, up to the damage
                        step = _CAREFUL
                        continue
                    self._damaged(start / file.samplerate, error)
                    return
                if not len(piece):
                    if start < file.frames:
                        self._damaged(start / file.samplerate, "the file ends early")
                    return
                start += len(piece)
                yield file.samplerate, piece.mean(axis=1, dtype=np.float32)

    def _decoded_by_av(self) -> Iterator[tuple[int, Samples]]:
        import av

        try:
            container = av.open(str(self.path))
        except (av.FFmpegError, ValueError) as error:
            raise ImderError(f"{self.path}: neither soundfile nor FFmpeg can read it ({_reason(error)})") from None
        with container:
            if not container.streams.audio:
                raise NoSoundTrack(f"{self.path}: there is no sound in it")
            stream = container.streams.audio[0]
            promised = (container.duration or 0) / av.time_base
            if stream.duration and stream.time_base:
                promised = float(stream.duration * stream.time_base)
            seconds = 0.0
            # Planar floats, channels and rate as they are: mixing and resampling are the same for every file.
            convert = av.AudioResampler(format="fltp")
            try:
                for frame in container.decode(stream):
                    for part in convert.resample(frame):
                        seconds += part.samples / part.sample_rate
                        yield part.sample_rate, part.to_ndarray().mean(axis=0, dtype=np.float32)
            except av.FFmpegError as error:
                self._damaged(seconds, error)
                return
            if seconds < promised - _SHORT:
                self._damaged(seconds, f"it should be {promised:.2f} s long")

    def _damaged(self, seconds: float, error: object) -> None:
        """A damaged end is a remark if something came before it, and a fault otherwise."""
        if seconds <= 0:
            raise ImderError(f"{self.path}: the sound can't be decoded ({_reason(error)})")
        self.remarks.append(f"{self.path.name}: damaged after {seconds:.2f} s, read up to there ({_reason(error)})")


def _resampled(pieces: Iterator[tuple[int, Samples]], rate: int) -> Iterator[Samples]:
    """Pieces of one rate. A file that changes its rate on the way, as broadcasts may, is followed."""
    import soxr

    now, stream = rate, None
    for found, piece in pieces:
        if found != now:
            if stream is not None:
                yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
            now = found
            stream = None if found == rate else soxr.ResampleStream(found, rate, 1, dtype="float32", quality="HQ")
        yield piece if stream is None else stream.resample_chunk(piece)
    if stream is not None:
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _reason(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__
