"""The latest words of a stream, and their features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from imder.extract.clip import extract_clip
from imder.extract.cues import Cue
from imder.extract.manifest import Clip
from imder.extract.recipe import Recipe
from imder.media.clips import ExtractedClip
from imder.media.transcript import text_between

MOST_WORDS = 20_000
"""Words that wait for their windows; more than in an hour of speech."""
_LONGEST_WORD = 1000  # characters
_LONGEST_CUE = 60.0  # seconds


class WordBuffer:
    """Words by their time.

    Args:
        recipe: the recipe of features, of which language counts.
        name: the stream's id.
    """

    def __init__(self, recipe: Recipe, name: str) -> None:
        self._recipe = recipe.only({"language"})
        self._name = name
        self._cues: list[Cue] = []
        self._latest = ExtractedClip(Clip(name), {})

    @property
    def size(self) -> int:
        """Number of words kept."""
        return len(self._cues)

    def put(self, cue: Cue) -> bool:
        """Add a word or cue; False if there are too many."""
        if len(self._cues) >= MOST_WORDS:
            return False
        self._cues.append(cue)
        return True

    def cut(self, start: float, end: float) -> tuple[ExtractedClip, str]:
        """The text of a window with its features, and why there are none, if they failed.

        Windows with the same text are encoded once.
        """
        cues = sorted(
            (cue for cue in self._cues if cue.start < end and cue.end > start), key=lambda c: (c.start, c.end)
        )
        text = text_between(cues, start, end)
        if not text:
            return ExtractedClip(Clip(self._name), {}), ""
        if text != self._latest.text:
            extracted = extract_clip(Clip(self._name, text=text), self._recipe)
            self._latest = ExtractedClip(Clip(self._name), extracted.features, extracted.tokens, text)
            return self._latest, extracted.failures.get("language", "")
        return self._latest, ""

    def forget(self, before: float) -> None:
        """Let go of words that end before a time."""
        self._cues = [cue for cue in self._cues if cue.end > before]


def as_cue(word: Any) -> Cue | None:
    """A word as a cue: a mapping with text, start and end (seconds), a `Cue`, or a `Word`; None for anything else.

    >>> as_cue({"text": "hello", "start": 0, "end": 0.5})
    Cue(start=0.0, end=0.5, text='hello', glued=False)
    """
    try:
        if isinstance(word, Mapping):
            text, start, end = word["text"], word["start"], word["end"]
        else:
            text, start, end = word.text, word.start, word.end
        if not isinstance(text, str):
            return None
        start, end = float(start), float(end)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return None
    words = " ".join(text.split())
    if not words or len(words) > _LONGEST_WORD or any("\ud800" <= letter <= "\udfff" for letter in words):
        return None
    if not (math.isfinite(start) and math.isfinite(end) and 0 < end - start <= _LONGEST_CUE):
        return None
    return Cue(start, end, words, getattr(word, "glued", False))
