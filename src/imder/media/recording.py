"""A long recording: the features of the whole and the time of each frame, from which windows are sliced.

Files are decoded once, as for a clip (`imder.extract.clip`), a piece at a time; only features stay in memory. A window thus
differs from a clip cut out beforehand in what belongs to the whole recording: frames at its edges see the sound beyond
them, and in ``librosa33`` the tuning and the loudest level are the recording's.

Time runs from 0 to ``seconds``, the end of the longest of the sound and the face's table (untracked frames included), or,
where there is neither, of the transcript.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imder.extract.clip import extract_clip
from imder.extract.extractors import leaves_video_unused
from imder.extract.manifest import Clip
from imder.extract.recipe import Recipe
from imder.media.clips import NO_TRACKER
from imder.media.transcript import Cue
from imder.types import ImderError

_CLOSE = 1e-6  # seconds: starts of windows are computed, times of frames come rounded from files


@dataclass(frozen=True)
class Recording:
    """Features of a recording and their times.

    Attributes:
        clip: the files and the id.
        seconds: its length.
        features: for each modality that has times ``(T, D)``.
        times: for each of them ``(T,)`` ascending seconds.
        frame_seconds: for each of them the length of a frame.
        timeless: features of a text without times, which belong to every window.
        tokens: token ids of that text; None without one.
        cues: the words of a transcript with their times.
        remarks: (modality, remark).
    """

    clip: Clip
    seconds: float
    features: Mapping[str, NDArray[np.float32]]
    times: Mapping[str, NDArray[np.float64]]
    frame_seconds: Mapping[str, float]
    timeless: Mapping[str, NDArray[np.float32]]
    tokens: NDArray[np.int64] | None
    cues: tuple[Cue, ...]
    remarks: tuple[tuple[str, str], ...]

    def between(self, start: float, end: float, min_coverage: float = 0.0) -> dict[str, NDArray[np.float32]]:
        """Features at ``start <= t < end``, up to the last frame where ``end`` is the recording's.

        A modality without any frame in that time, or whose frames cover less than ``min_coverage`` of it, is left out.
        """
        features = dict(self.timeless)
        shares = self.shares(start, end)
        for name in self.times:
            first, last = self._frames(name, start, end)
            if last > first and shares[name] >= min_coverage:
                features[name] = self.features[name][first:last]
        return features

    def shares(self, start: float, end: float) -> dict[str, float]:
        """For each modality that has times, the share of ``start <= t < end`` that its frames cover, 0 to 1.

        Untracked frames of a face cover nothing.
        """
        shares = {}
        for name in self.times:
            first, last = self._frames(name, start, end)
            shares[name] = min(1.0, (last - first) * self.frame_seconds[name] / (end - start))
        return shares

    def _frames(self, name: str, start: float, end: float) -> tuple[int, int]:
        times = self.times[name]
        last = len(times) if end >= self.seconds - _CLOSE else int(np.searchsorted(times, end - _CLOSE))
        return int(np.searchsorted(times, start - _CLOSE)), last


def read_recording(clip: Clip, recipe: Recipe, *, cues: Sequence[Cue] = (), openface: str | None = None) -> Recording:
    """Extract the features of a recording.

    Args:
        clip: its files; a text in it belongs to every window.
        recipe: how features are made.
        cues: a transcript with times, instead of a text.
        openface: OpenFace's program, for a video without a table.

    Raises:
        ImderError: a file can't be used, or nothing in the recording has times.
    """
    made = extract_clip(clip, recipe, openface)
    for name, reason in made.failures.items():
        raise ImderError(f"{name}: {reason}")
    remarks = list(made.remarks.items())
    if leaves_video_unused(recipe, clip, openface):
        remarks.append(("vision", NO_TRACKER))
    for name, values in made.features.items():
        if name == "language":
            continue
        if name not in made.times:
            raise ImderError(
                f"{clip.openface}: no column 'timestamp': its frames can't be given to windows; leave it out"
            )
        if not np.isfinite(made.times[name]).all() or (np.diff(made.times[name]) < 0).any():
            raise ImderError(
                f"{clip.openface}: the column 'timestamp' doesn't go up: its frames can't be given to windows"
            )
        assert len(values) == len(made.times[name])
    seconds = made.seconds or max((cue.end for cue in cues), default=0.0)
    if seconds <= 0:
        raise ImderError("windows need something that lasts: sound, a table of OpenFace or a transcript with times")
    timed = {name: values for name, values in made.features.items() if name in made.times}
    timeless = {name: values for name, values in made.features.items() if name not in made.times}
    times = {name: made.times[name] for name in timed}
    return Recording(
        clip, seconds, timed, times, made.frame_seconds, timeless, made.tokens, tuple(cues), tuple(remarks)
    )
