"""Subtitles: SRT, WebVTT and SBV, as programs and people write them.

A line of two times begins a cue; its words go on to the next such line, blank lines included, so that none is lost. Numbers and
names of cues, notes, styles and markup are left out, and character references decoded. Cues of no or negative length are left
out with a remark.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imder.extract.cues import Caption, Cue, Words, each_word_once
from imder.extract.text_files import lines_of
from imder.types import ImderError

SUFFIXES = frozenset({".srt", ".vtt", ".sbv"})

_TIME = r"-?\d+(?:\s*[:.,]\s*\d+)+"
_ARROW = r"\s*(?:-+>|--?&gt;|→)\s*"
_TIMES = re.compile(rf"\s*({_TIME}){_ARROW}({_TIME})(?:\s.*)?")
_TIMES_OF_SBV = re.compile(r"(\d+:\d\d:\d\d\.\d{3}),(\d+:\d\d:\d\d\.\d{3})")
_CLOCK = re.compile(r"(-?)(?:(?:(\d{1,9}):)?(\d{1,2}):)?(\d{1,9})(?:(?:[.,]|:(?=\d{3}$))(\d+))?")
_ARROW_HEAD = re.compile("->|-&gt;|→")
_HOURS_OR_MINUTES = re.compile(r"\d\s*:")
_LONGEST_NUMBER = 18  # digits
_LIKE_TIMES = re.compile(r"\d+:\d\d")
_NAMES = "b|i|u|s|c|v|lang|ruby|rt|font|em|strong|span|p|small|big|sub|sup|strike|a|div"
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TAG = re.compile(rf"</?(?:{_NAMES})(?:[\s.:][^<>]*)?/?>|\{{\\[^{{}}]*\}}", re.IGNORECASE)
_INLINE_TIME = re.compile(r"<((?:\d+:)?\d+:\d+[.,]\d+)>")
_REFERENCE = re.compile(r"&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[A-Za-z]\w{1,30});")
_BLOCKS_WITHOUT_WORDS = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s|$)")


@dataclass(frozen=True)
class Subtitles:
    """The words of a file of subtitles.

    Attributes:
        cues: in order of time; without words that rolling captions repeat.
        remarks: what was left out.
    """

    cues: tuple[Cue, ...]
    remarks: tuple[str, ...] = ()


def read_subtitles(path: Path, text: str) -> Subtitles:
    """The cues in the text of a file.

    Raises:
        ImderError: there are none, or a line's times can't be read.
    """
    lines = lines_of(text)
    is_vtt = lines[:1] != [] and lines[0].startswith("WEBVTT")
    starts = [i for i, line in enumerate(lines) if _times(path, i, line)]
    numbered = bool(starts) and any(line.strip().isdecimal() for line in lines[: starts[0]])
    captions: list[Caption] = []
    empty: list[int] = []
    remarks = [] if is_vtt else _before(lines[: starts[0]] if starts else [])
    number = next((n for line in lines[: starts[0]] if (n := _number_of(line)) is not None), 0) if numbered else 0
    for i, end in zip(starts, [*starts[1:], len(lines)]):
        block: Sequence[str] = lines[i + 1 : end]
        if end < len(lines):
            block, number = _without_name(block, is_vtt, numbered, number)
        start_text, end_text = _times(path, i, lines[i]) or ("", "")
        where = f"{path}: line {i + 1}"
        span = clock(where, start_text), clock(where, end_text)
        caption = _caption(span, _with_words(block) if is_vtt else block)
        if not caption.words:
            continue
        if span[0] < span[1]:
            captions.append(caption)
        else:
            empty.append(i + 1)
    if empty:
        remarks.append(f"{len(empty)} cues of no or negative length were left out, the first at line {empty[0]}")
    if not captions:
        raise ImderError(f"{path}: no words with times{_advice(lines, starts, remarks)}")
    return Subtitles(tuple(each_word_once(captions)), tuple(remarks))


def clock(where: str, text: str) -> float:
    """The seconds of a time such as ``00:01:02,500``, ``1:02.5``, ``62.5`` or ``00:01:02:500``.

    Raises:
        ImderError: it isn't one; the message begins with ``where``.

    >>> clock("", "00:01:02,500"), clock("", "1:02.5"), clock("", "00:01:02:500"), clock("", "00:01, 5")
    (62.5, 62.5, 62.5, 1.5)
    """
    match = _CLOCK.fullmatch(re.sub(r"\s+", "", text))
    if match is None:
        raise ImderError(f"{where}: {text.strip()!r} is not a time such as 00:01:02,500")
    sign, hours, minutes, seconds, fraction = match.groups()
    whole = 3600 * int(hours or 0) + 60 * int(minutes or 0) + int(seconds)
    return (-1 if sign else 1) * (whole + float(f"0.{fraction or 0}"))


def _times(path: Path, index: int, line: str) -> tuple[str, str] | None:
    """The two times in a line, or None for a line of words."""
    match = _TIMES.fullmatch(line) or _TIMES_OF_SBV.fullmatch(line.strip())
    if match and ":" in match[1] + match[2]:
        return match[1], match[2]
    if _begins_with_time(line):
        raise ImderError(
            f"{path}: line {index + 1}: {line.strip()[:60]!r} is not two times such as 00:01:02,500 --> 00:01:04,000"
        )
    return None


def _begins_with_time(line: str) -> bool:
    """Whether a line has a time and an arrow after it, or begins with an arrow and a time."""
    if not (head := _ARROW_HEAD.search(line)):
        return False
    before, after = line[: head.start()].rstrip("-"), line[head.end() :].lstrip()
    if not before.strip():
        return re.match(r"\d+:\d", after) is not None
    return re.fullmatch(r"[-\d:.,\s]*", before) is not None and _HOURS_OR_MINUTES.search(before) is not None


def _before(lines: Sequence[str]) -> list[str]:
    """A remark on words before the first time."""
    words = [i for i, line in enumerate(lines, start=1) if line.strip() and not line.strip().isdecimal()]
    return [f"line {words[0]}: words before the first time were left out"] if words else []


def _without_name(block: Sequence[str], is_vtt: bool, numbered: bool, number: int) -> tuple[Sequence[str], int]:
    """The lines of a cue without the number or name of the next one, and that number."""
    filled = [i for i, line in enumerate(block) if line.strip()]
    if not filled:
        return (), number
    last = filled[-1]
    name = block[last].strip()
    adjacent = last == len(block) - 1
    own_number = _number_of(name)
    if numbered and own_number is not None and (adjacent or own_number == number + 1):
        return block[:last], own_number
    if is_vtt and adjacent and (last == 0 or not block[last - 1].strip()):
        return block[:last], number
    return block, number


def _number_of(line: str) -> int | None:
    """The number of a cue, or None for other lines."""
    digits = line.strip()
    return int(digits) if digits.isdecimal() and len(digits) <= _LONGEST_NUMBER else None


def _with_words(block: Sequence[str]) -> list[str]:
    """The lines of a WebVTT cue without the notes, styles and regions that follow it."""
    words: list[str] = []
    skipping = False
    for i, line in enumerate(block):
        if not line.strip():
            skipping = False
        elif i > 0 and not block[i - 1].strip():
            skipping = bool(_BLOCKS_WITHOUT_WORDS.match(line))
        if not skipping:
            words.append(line)
    return words


def _caption(span: tuple[float, float], block: Sequence[str]) -> Caption:
    lines: list[Words] = []
    timed: list[tuple[float, Words]] = [(span[0], ())]
    for line in block:
        first, *rest = _INLINE_TIME.split(_BREAK.sub(" ", line))
        parts = [(timed[-1][0], _plain(first)), *((clock("", t), _plain(w)) for t, w in zip(rest[::2], rest[1::2]))]
        timed[-1] = timed[-1][0], (*timed[-1][1], *parts[0][1])
        timed += parts[1:]
        if words := tuple(word for _, part in parts for word in part):
            lines.append(words)
    return Caption(*span, tuple(lines), tuple(timed) if len(timed) > 1 else ())


def _plain(text: str) -> Words:
    """The words of a text without markup, character references decoded."""
    return tuple(_REFERENCE.sub(lambda match: html.unescape(match[0]), _TAG.sub("", text)).split())


def _advice(lines: Sequence[str], starts: Sequence[int], remarks: Sequence[str]) -> str:
    if starts:
        return f" ({'; '.join(remarks)})" if remarks else " (its cues are empty)"
    for i, line in enumerate(lines, start=1):
        if _LIKE_TIMES.search(line):
            return f"; line {i} has a time, but isn't like 00:01:02,500 --> 00:01:04,000: {line.strip()[:60]!r}"
    return "; a transcript is SRT, WebVTT, SBV or a CSV of start, end, text"
