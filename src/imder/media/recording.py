"""Long recordings: features and the time of each frame, from which windows are sliced.

Files are decoded once, in chunks, as for a clip (`imder.extract.clip`); only features stay in memory. A window therefore
differs slightly from a clip that was cut out beforehand: frames at its edges include sound beyond them, and ``librosa33``
uses the tuning and the loudest level of the whole recording.

Time runs from 0 to ``seconds``: the end of the sound or of the face's table (untracked frames included), whichever is later;
without either, the end of the transcript.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imder.extract.clip import extract_clip
from imder.extract.cues import Cue
from imder.extract.extractors import leaves_video_unused
from imder.extract.manifest import Clip
from imder.extract.recipe import Recipe
from imder.extract.speech.transcribe import NO_SPEECH, needs_transcript, transcript_of
from imder.extract.speech.words import cues_of
from imder.media.clips import NO_TRACKER
from imder.media.transcript import Transcript
from imder.types import ImderError

_CLOSE = 1e-6  # seconds of tolerance, since times of frames are rounded in files


@dataclass(frozen=True)
class Recording:
    """Features of a recording and their times.

    Attributes:
        clip: the files and the id.
        seconds: the duration.
        features: ``(T, D)`` for each modality with times.
        times: ``(T,)`` ascending seconds for each of these modalities.
        frame_seconds: the length of a frame for each of these modalities.
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
        """Features at ``start <= t < end``, up to the last frame if ``end`` is the end of the recording.

        Modalities without frames in that time, or whose frames cover less than ``min_coverage`` of it, are left out.
        """
        features = dict(self.timeless)
        shares = self.shares(start, end)
        for name in self.times:
            first, last = self._frames(name, start, end)
            if last > first and shares[name] >= min_coverage:
                features[name] = self.features[name][first:last]
        return features

    def shares(self, start: float, end: float) -> dict[str, float]:
        """The share of ``start <= t < end`` that frames cover, in [0, 1], for each modality with times.

        Untracked frames of a face don't count.
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


def read_recording(
    clip: Clip, recipe: Recipe, *, transcript: Transcript | None = None, openface: str | None = None
) -> Recording:
    """Extract the features of a recording.

    Args:
        clip: its files; its text, if any, belongs to every window.
        recipe: the recipe of the features.
        transcript: words with times, instead of a text; without either, the sound is transcribed if the recipe says so.
        openface: OpenFace's program, for a video without a table.

    Raises:
        ImderError: a file can't be used, or nothing in the recording has times.
    """
    spoken = None if transcript is not None or not needs_transcript(clip) else recipe.transcription
    extracted = extract_clip(clip, recipe if spoken is None else recipe.only({"vision", "audio"}), openface)
    for name, reason in extracted.failures.items():
        raise ImderError(f"{name}: {reason}")
    remarks = list(extracted.remarks.items())
    if leaves_video_unused(recipe, clip, openface):
        remarks.append(("vision", NO_TRACKER))
    for name, values in extracted.features.items():
        if name == "language":
            continue
        if name not in extracted.times:
            raise ImderError(
                f"{clip.openface}: no column 'timestamp': its frames can't be assigned to windows; leave the table out"
            )
        assert len(values) == len(extracted.times[name])
    cues: tuple[Cue, ...] = ()
    if transcript is not None:
        transcript = transcript.within(extracted.seconds or None)
        cues = transcript.cues
        remarks += [("language", remark) for remark in transcript.remarks]
    elif spoken is not None and (speech := transcript_of(clip, spoken)) is not None:
        cues = cues_of(speech.words)
        remarks += [] if cues else [("language", NO_SPEECH)]
    seconds = extracted.seconds or max((cue.end for cue in cues), default=0.0)
    if seconds <= 0:
        raise ImderError("windows need a modality with times: sound, a table of OpenFace or a transcript with times")
    return Recording(
        clip,
        seconds,
        features={name: values for name, values in extracted.features.items() if name in extracted.times},
        times={name: times for name, times in extracted.times.items() if name in extracted.features},
        frame_seconds=extracted.frame_seconds,
        timeless={name: values for name, values in extracted.features.items() if name not in extracted.times},
        tokens=extracted.tokens,
        cues=cues,
        remarks=tuple(remarks),
    )
