"""Whether a container's file ends before its end: AVI, Matroska and WebM, MP4 and QuickTime by the lengths that they state, GIF
and PNG by the end that they lack.

FFmpeg reads such a file to its end without a word, as far as it can. Streams without lengths (MPEG-TS, the files of browsers'
recorders) can't be told from whole ones.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"moof", b"styp", b"free", b"skip", b"wide"})  # that begin a file
_ENDS = {b"GIF8": b";", b"\x89PNG": b"IEND\xaeB`\x82"}
_INDEX = frozenset({b"moov", b"moof"})


def cut_short(path: Path) -> str:
    """What a container states that its file lacks; empty if nothing, or if it isn't one of these containers."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
            size = os.fstat(file.fileno()).st_size
            if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
                return _compared(8 + int.from_bytes(start[4:8], "little"), size)
            if start[:4] == _EBML:
                return _compared(_matroska_end(file), size)
            if start[4:8] in _BOXES:
                return _boxes(file, size)
            for begin, end in _ENDS.items():
                if start.startswith(begin):
                    file.seek(max(0, size - len(end)))
                    return "" if file.read() == end else "cut short: its end is missing"
    except OSError:
        pass  # the decoder says what is wrong
    return ""


def _compared(stated: int, size: int) -> str:
    return f"cut short: it has {size} of the {stated} bytes that its header states" if size < stated else ""


def _matroska_end(file: BinaryIO) -> int:
    """The end of the segment; 0 if it isn't stated."""
    file.seek(4)
    header = _ebml_number(file)
    if header is None:
        return 0
    file.seek(header, os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return 0
    length = _ebml_number(file)
    return 0 if length is None else file.tell() + length


def _ebml_number(file: BinaryIO) -> int | None:
    """A number of 1 to 8 bytes, whose first bit that is set says how many; None if all others are set: unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    number = int.from_bytes(bytes([first[0] - (1 << (7 - more))]) + file.read(more), "big")
    return None if number == (1 << (7 * (more + 1))) - 1 else number


def _boxes(file: BinaryIO, size: int) -> str:
    position, has_index = 0, False
    while position + 8 <= size:
        file.seek(position)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:  # to the end of the file
            length = size - position
        if length < 8:
            return ""
        has_index |= head[4:8] in _INDEX
        position += length
    if not has_index:
        return "cut short, or not finished: it has no index (moov)"
    return _compared(position, size)
