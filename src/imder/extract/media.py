"""Sound of any media file, decoded in chunks.

soundfile reads wav, flac, ogg, mp3 and similar files; PyAV (FFmpeg) decodes all others, the sound of videos
(`imder.extract.containers`), and what soundfile can't of a damaged file. Channels are averaged. soxr resamples as a stream, with
the same result as on the whole signal, so memory doesn't grow with length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imder.extract.containers import DecodedTrack, NoSoundTrack, one_line
from imder.extract.sound_headers import check_length
from imder.types import ImderError

__all__ = ["NoSoundTrack", "Samples", "Sound"]

Samples = NDArray[np.float32]

_CHUNK = 1 << 18  # samples read at a time


LEAST_RATE = 1000
"""Lowest sampling rate in Hz."""


@dataclass
class Sound:
    """The mono signal of a file at a sampling rate; `chunks` can be iterated repeatedly.

    Attributes:
        path: the file.
        rate: samples per second.
        remarks: remarks on reading, such as a damaged end; filled while `chunks` is iterated.
        gaps: (start, end) in seconds of the silence put in where the file has no sound, such as before a track that starts
            late; filled while `chunks` is iterated.
        seconds: the duration, set when `chunks` is exhausted.
    """

    path: Path
    rate: int
    remarks: list[str] = field(default_factory=list)
    gaps: list[tuple[float, float]] = field(default_factory=list)
    seconds: float = 0.0

    def chunks(self) -> Iterator[Samples]:
        """The signal in pieces ``(n,)`` of varying size, in about [-1, 1].

        Raises:
            ImderError: the file can't be read, its sound is empty, or it holds values that are not finite.
            NoSoundTrack: the file is a video without sound.
        """
        self.remarks.clear()
        self.gaps.clear()
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

        if self.path.is_dir():
            raise ImderError(f"{self.path}: is a folder, not a file")
        if not self.path.is_file():
            raise ImderError(f"{self.path}: there is no such file")
        if self.path.stat().st_size == 0:
            raise ImderError(f"{self.path}: the file is empty")
        length = check_length(self.path)
        try:
            file = soundfile.SoundFile(self.path)
        except soundfile.SoundFileError:  # not one of soundfile's formats
            yield from self._decoded_by_av()
            if length.remark and not any("damaged" in remark for remark in self.remarks):
                self.remarks.append(f"{self.path.name}: {length.remark}")
            return
        with file:
            if length.no_length and file.frames == 0:
                self.remarks.append(f"{self.path.name}: {length.remark}")
                yield from self._decoded_by_av()
                return
            count = 0
            while True:
                try:
                    piece = file.read(_CHUNK, dtype="float32", always_2d=True)
                except (
                    soundfile.SoundFileError
                ) as error:  # the whole piece is lost, of which FFmpeg decodes what it can
                    yield from self._rest_by_av(count, file.samplerate, error)
                    return
                if not len(piece):
                    break
                count += len(piece)
                yield file.samplerate, piece.mean(axis=1, dtype=np.float32)
            if count < file.frames:
                self._damaged(count / file.samplerate, "the file ends early")
            elif length.remark and count:
                self.remarks.append(f"{self.path.name}: {length.remark}")

    def _rest_by_av(self, count: int, rate: int, error: Exception) -> Iterator[tuple[int, Samples]]:
        """What FFmpeg decodes beyond the first ``count`` samples, which soundfile decoded before an error."""
        remarks = len(self.remarks)
        skipped = count
        try:
            for source_rate, piece in self._decoded_by_av():
                if skipped < len(piece):
                    yield source_rate, piece[skipped:]
                skipped = max(0, skipped - len(piece))
        except ImderError:  # nothing
            self._damaged(count / rate, error)
            return
        if len(self.remarks) == remarks:
            self.remarks.append(f"{self.path.name}: damaged ({one_line(error)}); read with FFmpeg")

    def _decoded_by_av(self) -> Iterator[tuple[int, Samples]]:
        track = DecodedTrack(self.path)
        yield from track.pieces()
        self.gaps += track.gaps
        self.remarks += [f"{self.path.name}: {remark}" for remark in track.remarks]

    def _damaged(self, seconds: float, error: object) -> None:
        """Add a remark on a damaged end; raise if nothing could be decoded before it."""
        if seconds <= 0:
            raise ImderError(f"{self.path}: the sound can't be decoded ({one_line(error)})")
        self.remarks.append(f"{self.path.name}: damaged after {seconds:.2f} s, read up to there ({one_line(error)})")


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
