"""Words with times: cues, and captions that roll.

Rolling captions (of YouTube and of live television) repeat what was on the screen before: each cue holds its last lines again,
or grows word by word. The repeated words are taken out, so that each word counts once, at the time at which it appears.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

_CONTIGUOUS = 0.5  # seconds between a cue and one that repeats its words
_LEAST = 2  # repetitions that tell rolling captions from people who repeat themselves


@dataclass(frozen=True)
class Cue:
    """A piece of text and its time in seconds, ``start < end``.

    Attributes:
        start, end: the time.
        text: the words.
        lines: the words of each line on the screen; empty if the source has no lines.
        timed: (start, words) of parts of the text that have times of their own.
    """

    start: float
    end: float
    text: str
    lines: tuple[tuple[str, ...], ...] = ()
    timed: tuple[tuple[float, tuple[str, ...]], ...] = ()


def each_word_once(cues: Sequence[Cue]) -> list[Cue]:
    """The cues in order of time, without the words that rolling captions repeat, and split where words have times.

    >>> cues = [Cue(0, 2, "", (("what", "a"),)), Cue(2, 4, "", (("what", "a"), ("day",))), Cue(4, 6, "", (("day",), ("!",)))]
    >>> [(cue.start, cue.text) for cue in each_word_once(cues)]
    [(0, 'what a'), (2, 'day'), (4, '!')]
    """
    ordered = sorted(cues, key=lambda cue: cue.start)
    carried = [0, *(_carried(before, cue) for before, cue in zip(ordered, ordered[1:]))]
    if not _rolling(ordered, carried):
        carried = [0] * len(ordered)
    return [part for cue, count in zip(ordered, carried) for part in _parts(cue, count)]


def _words(cue: Cue) -> tuple[str, ...]:
    return tuple(word for line in cue.lines for word in line)


def _carried(before: Cue, cue: Cue) -> int:
    """How many words at the beginning of a cue stood at the end of the one before.

    Whole lines, or all that the cue before held: a word that happens to end one sentence and begin the next isn't carried.
    """
    if cue.start > before.end + _CONTIGUOUS:
        return 0
    old, new = _words(before), _words(cue)
    ends = {len(old)}
    for line in cue.lines:
        ends.add(len(line) + max((end for end in ends if end != len(old)), default=0))
    return max((n for n in ends if 0 < n <= min(len(old), len(new)) and old[-n:] == new[:n]), default=0)


def _rolling(cues: Sequence[Cue], carried: Sequence[int]) -> bool:
    """Whether captions roll: of the cues that could show it, at least half repeat words and add others."""
    adding = [(count, len(_words(cue)), len(cue.lines), bool(cue.timed)) for cue, count in zip(cues, carried)]
    repeating = sum(0 < count < words for count, words, _, _ in adding)
    candidates = sum(lines > 1 or count > 0 for count, words, lines, _ in adding if count < words)
    least = 1 if any(timed for *_, timed in adding) else _LEAST
    return repeating >= least and 2 * repeating >= candidates


def _parts(cue: Cue, carried: int) -> Iterator[Cue]:
    """A cue without its first ``carried`` words, as one cue or as one for each part with a time of its own."""
    starts = [start for start, _ in cue.timed]
    within = starts == sorted(starts) and all(cue.start <= start < cue.end for start in starts)
    if not (starts and within):
        if rest := _words(cue)[carried:] if cue.lines else tuple(cue.text.split()):
            yield Cue(cue.start, cue.end, " ".join(rest))
        return
    ends = [*starts[1:], cue.end]
    for (start, words), end in zip(cue.timed, ends):
        rest, carried = words[carried:], max(0, carried - len(words))
        if rest and start < end:
            yield Cue(start, end, " ".join(rest))
        elif rest:
            yield replace(cue, start=start, end=cue.end, text=" ".join(rest), lines=(), timed=())
