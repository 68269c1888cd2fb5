"""Extraction of one clip: its features by a recipe, its failures and its remarks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from imder.extract.extractor import ClipFeatures
from imder.extract.extractors import parts_of
from imder.extract.manifest import Clip
from imder.extract.recipe import Recipe
from imder.extract.speech.transcribe import NO_SPEECH, needs_transcript, transcript_of
from imder.extract.speech.words import Word
from imder.types import ImderError


@dataclass
class Extracted:
    """The features of a clip, its failures and its remarks.

    Attributes:
        features: for each modality of the clip ``(T, D)`` float32 with at least one frame.
        tokens: ``(T,)`` int64 ids of the text's tokens; None without language.
        text: the words; None if the clip has none.
        words: the words of a transcript that was made from the sound, with their times; empty if the text was given.
        failures: the reason for each modality that could not be extracted.
        remarks: a remark for the user, by modality.
        untracked: number of frames without a tracked face.
        times: ``(T,)`` seconds for modalities whose frames have times. This and the next two aren't saved, since corpora
            have no times.
        frame_seconds: the length of a frame for each of these modalities.
        seconds: duration of the longest of them.
    """

    features: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    tokens: NDArray[np.int64] | None = None
    text: str | None = None
    words: tuple[Word, ...] = ()
    failures: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    untracked: int = 0
    times: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    frame_seconds: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, name: str, part: ClipFeatures) -> None:
        """Add the features of one modality."""
        if part.features is not None:
            self.features[name] = part.features
        if part.times is not None:
            self.times[name], self.frame_seconds[name] = part.times, part.frame_seconds
            self.seconds = max(self.seconds, part.seconds)
        self.untracked += part.untracked
        if part.tokens is not None:
            self.tokens = part.tokens
        if part.text is not None:
            self.text = part.text
        if part.remark:
            self.remarks[name] = part.remark


def extract_clip(clip: Clip, recipe: Recipe, openface: str | None = None) -> Extracted:
    """Extract the features of one clip. A damaged file is a failure of its modality, not an exception.

    A clip with sound and no text is transcribed if the recipe says so.

    Args:
        clip: its files and text; modalities that it lacks are left out.
        recipe: the recipe of the features.
        openface: OpenFace's program, for videos without a table.
    """
    out = Extracted(text=clip.text)
    if recipe.transcription is not None and recipe.language is not None and needs_transcript(clip):
        with _as_failure(out, "language"):
            transcript = transcript_of(clip, recipe.transcription)
            if transcript is not None and transcript.words:
                out.words = transcript.words
                clip = replace(clip, text=transcript.text)
            elif transcript is not None:
                out.remarks["language"] = NO_SPEECH
    for name, (extractor, part) in parts_of(recipe).items():
        if extractor.applies(clip, openface):
            with _as_failure(out, name):
                out.add(name, extractor.make(clip, part, openface))
    return out


@contextmanager
def _as_failure(out: Extracted, name: str) -> Iterator[None]:
    """Record an exception as the failure of a modality."""
    try:
        yield
    except ImderError as error:
        out.failures[name] = " ".join(str(error).split())
    except MemoryError:
        out.failures[name] = "out of memory"
    except Exception as error:  # decoders raise anything for damaged files; lose one modality, not all clips
        out.failures[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
