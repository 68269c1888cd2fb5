"""Sound at a sampling rate, from a file (`imder.extract.sound_file`) or from memory (`imder.extract.decoded`).

Channels are averaged. soxr resamples as a stream, with the same result as on the whole signal, so memory doesn't grow with
length.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imder.extract.containers import NoSoundTrack
from imder.extract.decoded import DecodedSound
from imder.extract.sound_file import SoundFile
from imder.types import ImderError

__all__ = ["NoSoundTrack", "Samples", "Sound"]

Samples = NDArray[np.float32]

LEAST_RATE = 1000
"""Lowest sampling rate in Hz."""


class Sound:
    """A mono signal at a sampling rate; `chunks` can be iterated repeatedly.

    Args:
        source: a file, or sound in memory.
        rate: samples per second.

    Attributes:
        rate: samples per second.
        seconds: the duration, set when `chunks` is exhausted.
    """

    def __init__(self, source: Path | DecodedSound, rate: int) -> None:
        self._source = SoundFile(source) if isinstance(source, Path) else source
        self.rate = rate
        self.seconds = 0.0

    @property
    def remarks(self) -> list[str]:
        """Remarks on reading, such as a damaged end; filled while `chunks` is iterated."""
        return self._source.remarks

    @property
    def gaps(self) -> list[tuple[float, float]]:
        """(start, end) in seconds of the silence put in where a file has no sound, such as before a track that starts late.

        Filled while `chunks` is iterated.
        """
        return self._source.gaps

    def chunks(self) -> Iterator[Samples]:
        """The signal in pieces ``(n,)`` of varying size, in about [-1, 1].

        Raises:
            ImderError: the file can't be read, its sound is empty, or it holds values that are not finite.
            NoSoundTrack: the file is a video without sound.
        """
        count = 0
        for piece in _resampled(self._source.pieces(), self.rate, str(self._source)):
            if not np.isfinite(piece).all():
                raise ImderError(f"{self._source}: the sound holds values that are not finite")
            count += len(piece)
            if len(piece):
                yield piece
        if count == 0:
            raise ImderError(f"{self._source}: the sound is empty")
        self.seconds = count / self.rate


def _resampled(pieces: Iterator[tuple[int, Samples]], rate: int, source: str) -> Iterator[Samples]:
    """Pieces resampled to one rate; the rate of the file may change within it, as in broadcasts."""
    import soxr

    current, stream = rate, None
    for source_rate, piece in pieces:
        if source_rate < LEAST_RATE:  # a small file would become hours of sound
            raise ImderError(f"{source}: a sampling rate of {source_rate} Hz; sound has at least {LEAST_RATE}")
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
