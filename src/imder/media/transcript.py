"""Transcripts with times: subtitles (`imder.extract.subtitles`), or a table with the columns ``start, end, text``.

Times in a table are seconds or clock times (``00:01:02.5``). Whole numbers that can only be milliseconds, as Whisper writes
them, are read as such, with a remark.

A cue belongs to a window if at least half of the cue lies in the window, or if the cue fills at least half of the window. A
short cue thus belongs to the window that holds most of it, and a long cue to every window that it fills.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imder.extract.cues import Cue
from imder.extract.subtitles import clock, read_subtitles
from imder.extract.text_files import csv_lines, lines_of, read_text, separator_of
from imder.types import ImderError

_COLUMNS = ("start", "end", "text")
_SECONDS = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?")
_FAR_BEYOND = 10  # times a recording's length: no transcript of it ends there
_LONG_CUE = 60  # seconds
_SLOW_SPEECH = 0.1  # words a second


@dataclass(frozen=True)
class Transcript:
    """Words with times.

    Attributes:
        cues: in order of time.
        remarks: what was left out or assumed.
        whole_numbers: whether all times are whole numbers without a unit, which may be milliseconds.
    """

    cues: tuple[Cue, ...]
    remarks: tuple[str, ...] = ()
    whole_numbers: bool = False

    def within(self, seconds: float | None) -> Transcript:
        """The transcript of a recording of this length (None: unknown), in seconds, with remarks on cues beyond its end."""
        transcript = self._in_seconds() if self._is_milliseconds(seconds) else self
        if seconds is None:
            return transcript
        outside = sum(cue.start >= seconds or cue.end <= 0 for cue in transcript.cues)
        if not outside:
            return transcript
        total = len(transcript.cues)
        which = (
            "no cue of the transcript is" if outside == total else f"{outside} of {total} cues of the transcript aren't"
        )
        last = max(cue.end for cue in transcript.cues)
        span = f"it goes from {transcript.cues[0].start:g} s to {last:g} s"
        remark = f"{which} in the recording of {seconds:.1f} s: {span}"
        return replace(transcript, remarks=(*transcript.remarks, remark))

    def _is_milliseconds(self, seconds: float | None) -> bool:
        if not self.whole_numbers:
            return False
        lengths = sorted(cue.end - cue.start for cue in self.cues)
        if lengths[len(lengths) // 2] <= _LONG_CUE:
            return False
        end = max(cue.end for cue in self.cues)
        slow = sum(len(cue.text.split()) for cue in self.cues) < _SLOW_SPEECH * sum(lengths)
        if seconds is None:
            return slow
        return (slow or end > _FAR_BEYOND * seconds) and end <= 1000 * (2 * seconds + 1)

    def _in_seconds(self) -> Transcript:
        cues = tuple(Cue(cue.start / 1000, cue.end / 1000, cue.text) for cue in self.cues)
        return Transcript(cues, (*self.remarks, "times are whole numbers, read as milliseconds"))


def text_between(cues: Sequence[Cue], start: float, end: float) -> str:
    """The text of the cues that belong to a window, in order, joined by blanks unless they are glued.

    >>> cues = [Cue(0, 2, "I don't"), Cue(2, 12, "know at all")]
    >>> text_between(cues, 0, 4), text_between(cues, 1.5, 5.5), text_between(cues, 20, 24)
    ("I don't know at all", 'know at all', '')
    """
    text = ""
    for cue in cues:
        overlap = min(cue.end, end) - max(cue.start, start)
        if overlap > 0 and 2 * overlap >= min(cue.end - cue.start, end - start) - 1e-6:
            text += cue.text if cue.glued or not text else f" {cue.text}"
    return text


def read_transcript(path: str | Path) -> Transcript:
    """The cues of a file in order of time; cues without words are left out.

    Raises:
        ImderError: the file can't be read, isn't a transcript, or has impossible times.
    """
    path = Path(path)
    text = read_text(path)
    if path.suffix.lower() in (".csv", ".tsv"):
        return _table(path, text)
    subtitles = read_subtitles(path, text)
    return Transcript(subtitles.cues, subtitles.remarks)


def _table(path: Path, text: str) -> Transcript:
    cues, empty = [], []
    whole_numbers = True
    for line, cells in _rows(path, text):
        where = f"{path}: line {line}"
        start, end = (_seconds(where, name, cells[name]) for name in ("start", "end"))
        whole_numbers &= cells["start"].isdecimal() and cells["end"].isdecimal()
        words = " ".join(cells["text"].split())
        if words and start < end:
            cues.append(Cue(start, end, words))
        elif words:
            empty.append(line)
    remarks = []
    if empty:
        remarks.append(f"{len(empty)} cues of no or negative length were left out, the first at line {empty[0]}")
    if not cues:
        raise ImderError(f"{path}: no words with times" + (f" ({'; '.join(remarks)})" if remarks else ""))
    cues.sort(key=lambda cue: (cue.start, cue.end))
    return Transcript(tuple(cues), tuple(remarks), whole_numbers)


def _seconds(where: str, name: str, cell: str) -> float:
    if ":" in cell:
        return clock(f"{where}: {name}", cell)
    if not _SECONDS.fullmatch(cell) or not math.isfinite(value := float(cell.replace(",", "."))):
        raise ImderError(f"{where}: {name}: {cell!r} is not a number of seconds or a time such as 00:01:02.5")
    return value


def _rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The line and the cells by the names of the columns of each row."""
    separator = separator_of(text)
    rows = _quoted_or_not(path, text, separator)
    header = [name.strip().lower() for name in next(rows, (1, []))[1]]
    for name in _COLUMNS:
        if header.count(name) != 1:
            problem = "no column" if name not in header else "more than one column"
            raise ImderError(f"{path}: {problem} {name!r}; a table of words has start, end (seconds) and text")
    for line, cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) < len(header) or any(cell.strip() for cell in cells[len(header) :]):
            raise ImderError(
                f"{path}: line {line}: {len(cells)} cells where the header has {len(header)} "
                "(put a text that contains the separator in double quotes)"
            )
        yield line, {name: cell.strip() for name, cell in zip(header, cells)}


def _quoted_or_not(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The rows as CSV, or as the lines that Whisper writes: separated by tabs and nothing in quotes."""
    if separator == "\t":
        lines = [line.split(separator) for line in lines_of(text)]
        if all(len(cells) == len(lines[0]) for cells in lines if any(cells)):
            yield from (
                (i, [_unquoted(cell) for cell in cells]) for i, cells in enumerate(lines, start=1) if any(cells)
            )
            return
    rows = csv.reader(csv_lines(text), delimiter=separator, strict=True)
    try:
        yield from ((rows.line_num, row) for row in rows)
    except csv.Error as error:
        raise ImderError(f"{path}: line {rows.line_num}: not CSV ({error})") from None


def _unquoted(cell: str) -> str:
    inner = cell[1:-1]
    quoted = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if quoted else cell
