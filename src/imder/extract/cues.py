"""Words with times: cues, and captions that roll.

Rolling captions (of YouTube and of live television) repeat what was on the screen before: each holds the last lines of the one
before it, or grows word by word. The repeated words are taken out, so that each word counts once, when it appears.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

_CONTIGUOUS = 0.5  # seconds between a caption and one that repeats its words
_LEAST = 2  # repetitions that tell rolling captions from people who repeat themselves

Words = tuple[str, ...]


@dataclass(frozen=True)
class Cue:
    """A piece of text and its time in seconds, ``start < end``.

    ``glued``: no blank separates it from the cue before, as between words of Chinese.
    """

    start: float
    end: float
    text: str
    glued: bool = False


@dataclass(frozen=True)
class Caption:
    """What a screen shows for a time.

    Attributes:
        start, end: the time in seconds, ``start < end``.
        lines: the words of each line.
        timed: (seconds, words) of the parts of the text, where these have times of their own.
    """

    start: float
    end: float
    lines: tuple[Words, ...]
    timed: tuple[tuple[float, Words], ...] = ()

    @property
    def words(self) -> Words:
        """All words."""
        return tuple(word for line in self.lines for word in line)


def each_word_once(captions: Sequence[Caption]) -> list[Cue]:
    """The words of captions in order of time, without those that rolling captions repeat; split where parts have times.

    >>> rolling = [Caption(0, 2, (("what", "a"),)), Caption(2, 4, (("what", "a"), ("day",))), Caption(4, 6, (("day",), ("!",)))]
    >>> [(cue.start, cue.text) for cue in each_word_once(rolling)]
    [(0, 'what a'), (2, 'day'), (4, '!')]
    """
    ordered = sorted(captions, key=lambda caption: caption.start)
    carried = [0, *(_carried(*pair) for pair in pairwise(ordered))]
    if not _rolling(ordered, carried):
        carried = [0] * len(ordered)
    return [cue for caption, count in zip(ordered, carried) for cue in _cues(caption, count)]


def _carried(before: Caption, caption: Caption) -> int:
    """How many words at the beginning of a caption stood at the end of the one before.

    Only whole lines, or everything that was there before: a word may end one sentence and begin the next.
    """
    if caption.start > before.end + _CONTIGUOUS:
        return 0
    old, new = before.words, caption.words
    counts = {len(old), *accumulate(len(line) for line in caption.lines)}
    return max((n for n in counts if 0 < n <= min(len(old), len(new)) and old[-n:] == new[:n]), default=0)


def _rolling(captions: Sequence[Caption], carried: Sequence[int]) -> bool:
    """Whether captions roll: of those that could show it, at least half repeat words and add others."""
    growing = candidates = 0
    for caption, count in zip(captions, carried):
        adds = 0 < count < len(caption.words)
        growing += adds
        candidates += adds or (count == 0 and len(caption.lines) > 1)
    least = 1 if any(caption.timed for caption in captions) else _LEAST
    return growing >= least and 2 * growing >= candidates


def _cues(caption: Caption, carried: int) -> Iterator[Cue]:
    """A caption without its first ``carried`` words, as one cue or one for each part with a time of its own."""
    starts = [start for start, _ in caption.timed]
    ordered = starts == sorted(set(starts)) and all(caption.start <= start < caption.end for start in starts)
    parts = caption.timed if starts and ordered else ((caption.start, caption.words),)
    for (start, words), end in zip(parts, [*(start for start, _ in parts[1:]), caption.end]):
        if rest := words[carried:]:
            yield Cue(start, end, " ".join(rest))
        carried = max(0, carried - len(words))
