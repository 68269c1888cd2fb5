"""The first sound track of a container, decoded by PyAV (FFmpeg) at the times that the container gives.

Time 0 is the start of the container, so sound that begins later than the picture begins later here. Where a track has no sound
(before its start, in gaps, in packets that can't be decoded) there is silence, which `DecodedTrack.gaps` lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.extract.container_lengths import cut_short
from imder.extract.container_times import LONGEST_GAP, ContinuousTimes, stated_end
from imder.types import ImderError

SHORT = 0.25
"""Seconds that may be missing from the duration that a container states."""
_GAP = 0.05  # seconds; rounded times and the delay of encoders are less
_LATE = 0.001  # seconds at the start, which aren't a gap to speak of but belong to the times of the sound
_CHUNK = 1 << 18  # samples of silence at a time


class NoSoundTrack(ImderError):
    """A video has no sound track, which isn't a failure."""


class DecodedTrack:
    """The sound of a file.

    Attributes:
        gaps: (start, end) in seconds of silence that was put in; filled by `pieces`.
        remarks: remarks on reading; filled by `pieces`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.gaps: list[tuple[float, float]] = []
        self.remarks: list[str] = []
        self._seconds = 0.0
        self._silence = 0.0

    def pieces(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Mono pieces at the file's own rate, as (rate, ``(n,)`` samples).

        Raises:
            ImderError: the file can't be read, or nothing of its sound can be decoded.
            NoSoundTrack: it has none.
        """
        import av

        try:
            container = av.open(str(self._path))
        except (av.FFmpegError, ValueError) as error:
            reason = unreadable(self._path, error)
            raise ImderError(f"{self._path}: neither soundfile nor FFmpeg can read it ({reason})") from None
        with container:
            tracks = container.streams.audio
            if not tracks:
                raise NoSoundTrack(f"{self._path}: has no sound track")
            if len(tracks) > 1:
                self.remarks.append(f"{len(tracks)} sound tracks, the first was read")
            origin = (container.start_time or 0) / av.time_base
            times = ContinuousTimes(origin)
            first_sound: float | None = None
            damage = _Damage()
            convert = _ToFloats()
            for frame in self._frames(container, tracks[0], damage):
                rate = frame.sample_rate
                if first_sound is None:
                    first_sound = self._seconds
                if frame.pts is not None and frame.time_base:
                    time = times(float(frame.pts * frame.time_base), self._seconds)
                    yield from self._silence_until(time, rate)
                for piece in convert(frame):
                    self._seconds += len(piece) / rate
                    yield rate, piece
            self.remarks += [times.jump] if times.jump else []
            stated, of_track = (0.0, True) if times.jump else stated_end(container, tracks[0], origin)
            self._say(damage, first_sound, stated, of_track=of_track)

    def _frames(self, container: Any, track: Any, damage: _Damage) -> Iterator[Any]:
        """Decoded frames; packets that can't be decoded are passed over."""
        import av

        packets = container.demux(track)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError as error:
                damage.add(self._seconds, error)
                return
            try:
                yield from packet.decode()
            except av.FFmpegError as error:
                damage.add(self._seconds, error)

    def _silence_until(self, time: float, rate: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        missing = time - self._seconds
        if missing <= (_GAP if self._seconds else _LATE):
            return
        if self._silence + missing > LONGEST_GAP:
            remark = f"gaps are longer than {LONGEST_GAP / 3600:.0f} h together; the further ones were left out"
            self.remarks += [] if remark in self.remarks else [remark]
            return
        if missing > _GAP:
            self.gaps.append((self._seconds, time))
        self._silence += missing
        count = round(missing * rate)
        self._seconds += count / rate
        for start in range(0, count, _CHUNK):
            yield rate, np.zeros(min(_CHUNK, count - start), np.float32)

    def _say(self, damage: _Damage, first_sound: float | None, stated: float, *, of_track: bool) -> None:
        """Add remarks on gaps and damage; raise if there is no sound."""
        if first_sound is None:
            reason = damage.reason or "it has no frames"
            raise ImderError(f"{self._path}: the sound can't be decoded ({reason})")
        late = [gap for gap in self.gaps if gap[0] == 0]
        gaps = [gap for gap in self.gaps if gap[0] > 0]
        if late:
            self.remarks.append(f"the sound starts at {late[0][1]:.2f} s")
        if gaps:
            (start, end), more = gaps[0], f" and {len(gaps) - 1} more" if len(gaps) > 1 else ""
            self.remarks.append(f"the sound has a gap from {start:.2f} s to {end:.2f} s{more}")
        ends_early = self._seconds < stated - SHORT
        if ends_early and of_track:
            reason = f"it should be {stated:.2f} s long"
            self.remarks.append(f"damaged after {self._seconds:.2f} s, read up to there ({reason})")
        elif damage.packets:
            places = f"{damage.packets} packets can't be decoded" if damage.packets > 1 else damage.reason
            self.remarks.append(f"damaged after {damage.seconds:.2f} s ({places})")
        elif cut := cut_short(self._path):
            self.remarks.append(cut)
        elif ends_early:
            self.remarks.append(f"the sound ends after {self._seconds:.2f} s of {stated:.2f} s")


class _Damage:
    """Packets that can't be decoded: how many, and where and why the first of them."""

    def __init__(self) -> None:
        self.packets, self.seconds, self.reason = 0, 0.0, ""

    def add(self, seconds: float, error: Exception) -> None:
        if not self.packets:
            self.seconds, self.reason = seconds, one_line(error)
        self.packets += 1


class _ToFloats:
    """Frames as mono samples.

    Only the sample format is converted by FFmpeg, so that mixing and resampling are the same for every file; format, rate and
    channels may change within a broadcast.
    """

    def __init__(self) -> None:
        self._resampler: Any = None
        self._layout: tuple[str, str, int] | None = None

    def __call__(self, frame: Any) -> Iterator[NDArray[np.float32]]:
        import av

        layout = frame.format.name, frame.layout.name, frame.sample_rate
        if layout != self._layout:
            self._resampler, self._layout = av.AudioResampler(format="fltp"), layout
        for part in self._resampler.resample(frame):
            yield part.to_ndarray().mean(axis=0, dtype=np.float32)


def unreadable(path: Path, error: object) -> str:
    """Why FFmpeg can't open a file: what the file lacks, if that can be told, otherwise FFmpeg's error."""
    return cut_short(path) or one_line(error)


def one_line(error: object) -> str:
    """The text of an error in one line."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()) or type(error).__name__
