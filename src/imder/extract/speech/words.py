"""Words with times, and the transcript that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imder.extract.cues import Cue


@dataclass(frozen=True)
class Word:
    """A spoken word and its time in seconds, ``start < end``.

    ``text`` starts with a blank where the language separates words by blanks.
    """

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Transcript:
    """The words of a sound.

    Attributes:
        words: in order of time; empty if nobody speaks.
        language: a code such as ``en``.
    """

    words: tuple[Word, ...]
    language: str

    @property
    def text(self) -> str:
        """The words as one text.

        >>> Transcript((Word(0, 0.4, " What"), Word(0.4, 1, " a day!")), "en").text
        'What a day!'
        """
        return " ".join("".join(word.text for word in self.words).split())


def cues_of(words: Sequence[Word]) -> tuple[Cue, ...]:
    """Words as a transcript with times, for windows of a recording.

    >>> cues_of([Word(0, 0.4, " What"), Word(0.4, 0.5, "-"), Word(0.5, 1, " now")])[1]
    Cue(start=0.4, end=0.5, text='-', glued=True)
    """
    return tuple(Cue(word.start, word.end, word.text.strip(), not word.text[0].isspace()) for word in words)
