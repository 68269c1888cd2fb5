"""The sound of a media file, decoded in pieces.

soundfile reads wav, flac, ogg, mp3 and similar files; PyAV (FFmpeg) decodes all others, the sound of videos
(`imder.extract.containers`), and what soundfile can't of a damaged file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imder.extract.containers import DecodedTrack, one_line
from imder.extract.sound_headers import check_length
from imder.types import ImderError

Samples = NDArray[np.float32]

_CHUNK = 1 << 18  # samples read at a time


class SoundFile:
    """The sound of a file, with the channels averaged.

    Attributes:
        path: the file.
        remarks: remarks on reading, such as a damaged end; filled by `pieces`.
        gaps: (start, end) in seconds of silence put in where the file has no sound; filled by `pieces`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.remarks: list[str] = []
        self.gaps: list[tuple[float, float]] = []

    def __str__(self) -> str:
        return str(self.path)

    def pieces(self) -> Iterator[tuple[int, Samples]]:
        """Mono pieces at the file's own rate, as (rate, ``(n,)`` samples).

        Raises:
            ImderError: the file can't be read.
            NoSoundTrack: it is a video without sound.
        """
        import soundfile

        self.remarks.clear()
        self.gaps.clear()
        if self.path.is_dir():
            raise ImderError(f"{self.path}: is a folder, not a file")
        if not self.path.is_file():
            raise ImderError(f"{self.path}: there is no such file")
        if self.path.stat().st_size == 0:
            raise ImderError(f"{self.path}: the file is empty")
        length = check_length(self.path)
        try:
            file = None if length.needs_ffmpeg else soundfile.SoundFile(self.path)
        except soundfile.SoundFileError:  # not one of soundfile's formats
            file = None
        if file is None:
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
        track.gaps = self.gaps  # known as soon as their silence is put in
        yield from track.pieces()
        self.remarks += [f"{self.path.name}: {remark}" for remark in track.remarks]

    def _damaged(self, seconds: float, error: object) -> None:
        """Add a remark on a damaged end; raise if nothing could be decoded before it."""
        if seconds <= 0:
            raise ImderError(f"{self.path}: the sound can't be decoded ({one_line(error)})")
        self.remarks.append(f"{self.path.name}: damaged after {seconds:.2f} s, read up to there ({one_line(error)})")
