"""A recording: the features of the whole and when each frame was. Cutting it is slicing.

Files are gone through as for a clip (`imder.extract.clip`), a little at a time, and what is held are features: no window is
decoded again. So a window differs from a clip that was cut out beforehand in what belongs to the whole: frames at its edges
see the sound beyond them, and in ``librosa33`` the tuning and the loudest level are the recording's.

Time runs from 0 to ``seconds``, the end of what lasts longest: the sound, the table of the face with its untracked frames,
or, where there is neither, the transcript.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imder.extract.clip import extract_clip
from imder.extract.manifest import Clip
from imder.extract.recipe import Recipe
from imder.media.clips import NO_TRACKER
from imder.media.transcript import Cue
from imder.types import ImderError

_CLOSE = 1e-6  # seconds: where windows begin is computed, when frames are was written in decimals


@dataclass(frozen=True)
class Recording:
    """Of one clip.

    Attributes:
        clip: where it came from.
        seconds: how long it is.
        features: for each modality that has times ``(T, D)``.
        times: for each of them ``(T,)`` ascending seconds.
        every: for each of them how long a frame stands for.
        timeless: features of a text without times: they belong to every window.
        tokens: ids of the tokens of that text; None without one.
        cues: what was said when.
        remarks: (modality, remark).
    """

    clip: Clip
    seconds: float
    features: Mapping[str, NDArray[np.float32]]
    times: Mapping[str, NDArray[np.float64]]
    every: Mapping[str, float]
    timeless: Mapping[str, NDArray[np.float32]]
    tokens: NDArray[np.int64] | None
    cues: tuple[Cue, ...]
    remarks: tuple[tuple[str, str], ...]

    def between(self, start: float, end: float, least: float = 0.0) -> dict[str, NDArray[np.float32]]:
        """What is there at ``start <= t < end``; to the last frame where ``end`` is the recording's.

        A modality without any frame then isn't there, nor is one whose frames cover less than ``least`` of that time.
        """
        found = dict(self.timeless)
        shares = self.shares(start, end)
        for name in self.times:
            first, last = self._frames(name, start, end)
            if last > first and shares[name] >= least:
                found[name] = self.features[name][first:last]
        return found

    def shares(self, start: float, end: float) -> dict[str, float]:
        """Of each modality that has times, how much of ``start <= t < end`` its frames cover, 0 to 1.

        Frames of a face that weren't tracked cover nothing.
        """
        found = {}
        for name in self.times:
            first, last = self._frames(name, start, end)
            found[name] = min(1.0, (last - first) * self.every[name] / (end - start))
        return found

    def _frames(self, name: str, start: float, end: float) -> tuple[int, int]:
        times = self.times[name]
        last = len(times) if end >= self.seconds - _CLOSE else int(np.searchsorted(times, end - _CLOSE))
        return int(np.searchsorted(times, start - _CLOSE)), last


def read_recording(clip: Clip, recipe: Recipe, *, cues: Sequence[Cue] = (), openface: str | None = None) -> Recording:
    """Go through a recording.

    Args:
        clip: where everything is. A text in it belongs to every window.
        recipe: what the features are made with.
        cues: what was said when, instead of a text.
        openface: OpenFace's program, for a video without a table.

    Raises:
        ImderError: something that was given can't be used, or nothing in it has times.
    """
    made = extract_clip(clip, recipe, openface)
    for name, reason in made.failures.items():
        raise ImderError(f"{name}: {reason}")
    remarks = list(made.remarks.items())
    if recipe.vision is not None and clip.video is not None and clip.openface is None and openface is None:
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
    return Recording(clip, seconds, timed, times, made.every, timeless, made.tokens, tuple(cues), tuple(remarks))
