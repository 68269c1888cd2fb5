"""Transcripts with times: subtitles (SRT, WebVTT), or a CSV with the columns ``start, end, text`` in seconds.

A cue belongs to a window if at least half of the cue lies in the window, or if the cue fills at least half of the window. A
short cue thus belongs to the window that holds most of it, and a long cue to every window that it fills.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imder.extract.manifest import read_text
from imder.types import ImderError

_TIMES = re.compile(r"\s*([\d:.,]+)\s+-->\s+([\d:.,]+)")
_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:[.,]\d+)?)")
_TAG = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")  # markup of WebVTT, and of formats that SRT files borrow from


@dataclass(frozen=True)
class Cue:
    """A piece of text and its time in seconds, ``start < end``."""

    start: float
    end: float
    text: str


def text_between(cues: Sequence[Cue], start: float, end: float) -> str:
    """The text of the cues that belong to a window, in order, joined by spaces.

    >>> cues = [Cue(0, 2, "I don't"), Cue(2, 12, "know at all")]
    >>> text_between(cues, 0, 4), text_between(cues, 1.5, 5.5), text_between(cues, 20, 24)
    ("I don't know at all", 'know at all', '')
    """
    texts = []
    for cue in cues:
        overlap = min(cue.end, end) - max(cue.start, start)
        if overlap > 0 and 2 * overlap >= min(cue.end - cue.start, end - start) - 1e-6:
            texts.append(cue.text)
    return " ".join(texts)


def read_transcript(path: str | Path) -> tuple[Cue, ...]:
    """The cues of a file in order of time; cues without words are left out.

    Raises:
        ImderError: the file can't be read, isn't a transcript, or has impossible times.
    """
    path = Path(path)
    text = read_text(path)
    cues = tuple(_table(path, text) if path.suffix.lower() in (".csv", ".tsv") else _subtitles(path, text))
    if not cues:
        raise ImderError(f"{path}: no words with times; a transcript is SRT, WebVTT or a CSV of start, end, text")
    return tuple(sorted(cues, key=lambda cue: (cue.start, cue.end)))


def _subtitles(path: Path, text: str) -> Iterator[Cue]:
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if _TIMES.match(line)]
    for i in starts:
        times = _TIMES.match(lines[i])
        assert times is not None
        where = f"{path}: line {i + 1}"
        words = []
        for line in lines[i + 1 :]:
            if not line.strip() or "-->" in line:
                break
            words.append(_TAG.sub("", line).strip())
        yield from _cue(where, _clock(where, times[1]), _clock(where, times[2]), " ".join(words))


def _clock(where: str, text: str) -> float:
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        raise ImderError(f"{where}: {text!r} is not a time such as 00:01:02,500")
    hours, minutes, seconds = (float(part.replace(",", ".")) if part else 0.0 for part in clock.groups())
    return 3600 * hours + 60 * minutes + seconds


def _table(path: Path, text: str) -> Iterator[Cue]:
    separator = max(",;\t", key=text.partition("\n")[0].count)
    rows = csv.DictReader(text.splitlines(keepends=True), delimiter=separator, strict=True)
    try:
        missing = {"start", "end", "text"} - {(name or "").strip() for name in rows.fieldnames or ()}
        if missing:
            raise ImderError(f"{path}: no column {min(missing)!r}; a table of words has start, end (seconds) and text")
        for row in rows:
            where = f"{path}: line {rows.line_num}"
            cells = {(name or "").strip(): cell for name, cell in row.items()}
            times = []
            for name in ("start", "end"):
                cell = cells[name] or ""
                try:
                    times.append(float(cell))
                except ValueError:
                    raise ImderError(f"{where}: {name}: {cell!r} is not a number of seconds") from None
            yield from _cue(where, times[0], times[1], cells["text"] or "")
    except csv.Error as error:
        raise ImderError(f"{path}: line {rows.line_num}: not CSV ({error})") from None


def _cue(where: str, start: float, end: float, text: str) -> Iterator[Cue]:
    if not (0 <= start < end and math.isfinite(end)):
        raise ImderError(f"{where}: {start:g} s to {end:g} s is not a valid time span")
    words = " ".join(text.split())
    if words:
        yield Cue(start, end, words)
