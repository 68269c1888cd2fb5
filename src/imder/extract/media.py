"""Sound of any media file, decoded in chunks.

soundfile reads wav, flac, ogg, mp3 and similar files; PyAV (FFmpeg) decodes all others, and the sound of videos. Channels
are averaged. soxr resamples as a stream, with the same result as on the whole signal, so memory doesn't grow with length.
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
_SMALL_CHUNK = 1 << 12  # near damage
_SHORT = 0.25  # seconds that may be missing from the duration that a container states


class NoSoundTrack(ImderError):
    """A video has no sound track, which isn't a failure."""


LEAST_RATE = 1000
"""Lowest sampling rate in Hz."""


@dataclass
class Sound:
    """The mono signal of a file at a sampling rate; `chunks` can be iterated repeatedly.

    Attributes:
        path: the file.
        rate: samples per second.
        remarks: remarks on reading, such as a damaged end; filled while `chunks` is iterated.
        seconds: the duration, set when `chunks` is exhausted.
    """

    path: Path
    rate: int
    remarks: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def chunks(self) -> Iterator[Samples]:
        """The signal in pieces ``(n,)`` of varying size, in about [-1, 1].

        Raises:
            ImderError: the file can't be read, its sound is empty, or it holds values that are not finite.
            NoSoundTrack: the file is a video without sound.
        """
        self.remarks.clear()
        count = 0
        for piece in _resampled(self._decoded(), self.rate, self.path):
            if not np.isfinite(piece).all():
                raise ImderError(f"{self.path}: the sound holds values that are not finite")
            count += len(piece)
            if len(piece):
                yield piece
        if count == 0:
            raise ImderError(f"{self.path}: the sound is empty")
        self.seconds = count / self.rate

    def _decoded(self) -> Iterator[tuple[int, Samples]]:
        """Mono pieces at the file's own rate, as (rate, piece)."""
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
                    if step == _SMALL_CHUNK:
                        file.seek(start)
                    piece = file.read(step, dtype="float32", always_2d=True)
                except soundfile.SoundFileError as error:
                    if step > _SMALL_CHUNK:  # the whole piece is lost: read it again in small ones, up to the damage
                        step = _SMALL_CHUNK
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
                raise NoSoundTrack(f"{self.path}: has no sound track")
            stream = container.streams.audio[0]
            stated = (container.duration or 0) / av.time_base
            if stream.duration and stream.time_base:
                stated = float(stream.duration * stream.time_base)
            seconds = 0.0
            # Only the sample format is converted here, so that mixing and resampling are the same for every file.
            convert = av.AudioResampler(format="fltp")
            try:
                for frame in container.decode(stream):
                    for part in convert.resample(frame):
                        seconds += part.samples / part.sample_rate
                        yield part.sample_rate, part.to_ndarray().mean(axis=0, dtype=np.float32)
            except av.FFmpegError as error:
                self._damaged(seconds, error)
                return
            if seconds < stated - _SHORT:
                self._damaged(seconds, f"it should be {stated:.2f} s long")

    def _damaged(self, seconds: float, error: object) -> None:
        """Add a remark on a damaged end; raise if nothing could be decoded before it."""
        if seconds <= 0:
            raise ImderError(f"{self.path}: the sound can't be decoded ({_reason(error)})")
        self.remarks.append(f"{self.path.name}: damaged after {seconds:.2f} s, read up to there ({_reason(error)})")


def _resampled(pieces: Iterator[tuple[int, Samples]], rate: int, path: Path) -> Iterator[Samples]:
    """Pieces resampled to one rate; the rate of the file may change within it, as in broadcasts."""
    import soxr

    current, stream = rate, None
    for source_rate, piece in pieces:
        if source_rate < LEAST_RATE:  # a small file would become hours of sound
            raise ImderError(f"{path}: a sampling rate of {source_rate} Hz; sound has at least {LEAST_RATE}")
        if source_rate != current:
            if stream is not None:
                yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
            current = source_rate
            stream = None
            if source_rate != rate:
                stream = soxr.ResampleStream(source_rate, rate, 1, dtype="float32", quality="HQ")
        yield piece if stream is None else stream.resample_chunk(piece)
    if stream is not None:
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _reason(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__
