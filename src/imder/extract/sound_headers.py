"""What the header or the end of a sound file says about its length, compared with the file's.

libsndfile reads what is there without a word; these remarks tell a recording that was cut short from one that is whole. It also
stops at the end of the first of several Ogg streams, and where an MP3 file's header, or a guess from the first frames, says that
the sound ends; FFmpeg reads such files to their ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_PLACEHOLDERS = range(0x7FFFF000, 0x80000001)  # lengths that programs write into a stream whose length they don't know
_UNKNOWN = 0xFFFFFFFF
_TAIL = 1 << 17  # bytes at the end that hold the last page of an Ogg file; a page has at most 65307
_FIRST_PAGE, _LAST_PAGE = 2, 4  # flags of an Ogg page
_MP3_REST = 1 << 14  # bytes after the end that an MP3 file states, which may be tags
_MP3_SAME = 0xFFFE0C00  # bits of an MP3 frame's header that are the same in every frame: sync, version, layer, rate


@dataclass(frozen=True)
class Length:
    """What is wrong with a sound file's length.

    Attributes:
        remark: what is wrong; empty if nothing is.
        no_length: whether the header states no sound although the file goes on.
        needs_ffmpeg: whether libsndfile would stop before the end, or can't tell where it is.
    """

    remark: str = ""
    no_length: bool = False
    needs_ffmpeg: bool = False


def check_length(path: Path) -> Length:
    """Compare the length in the header of a WAV, AIFF, Wave64, AU, CAF, FLAC or MP3 file, or the pages of an Ogg file, with the file."""
    try:
        with path.open("rb") as file:
            start = file.read(40)
            size = os.fstat(file.fileno()).st_size
            if start.startswith(b"OggS"):
                return _ogg(file, size)
            if start.startswith(b"fLaC"):
                samples = int.from_bytes(start[21:26], "big") & (1 << 36) - 1
                return Length(needs_ffmpeg=samples == 0)
            if start.startswith(b"ID3") or b"\xff\xe0" <= start[:2] <= b"\xff\xff":
                return _mp3(file, size)
            for stated, offset in _sound_chunk(file, start):
                return _compared(file, stated, offset, size)
    except OSError:
        pass  # the decoder says what is wrong
    return Length()


def _compared(file: BinaryIO, stated: int | None, offset: int, size: int) -> Length:
    present = max(0, size - offset)
    if stated is None or present == 0:
        return Length()
    if stated == 0:
        file.seek(offset)
        return Length() if _is_chunk(file.read(8)) else Length("its header states no sound; read to its end", True)
    if present < stated:
        return Length(f"cut short: it has {present} of the {stated} bytes of sound that its header states")
    file.seek(offset + stated + stated % 2)
    rest = file.read(8)
    if present - stated > _TAIL and not _is_chunk(rest):
        return Length(f"{present - stated} bytes after the end that its header states weren't read")
    return Length()


def _is_chunk(head: bytes) -> bool:
    """Whether bytes begin a chunk: a name of four printable characters."""
    return len(head) >= 8 and all(32 <= byte < 127 for byte in head[:4])


def _sound_chunk(file: BinaryIO, start: bytes) -> Iterator[tuple[int | None, int]]:
    """The stated length of the sound, None if unknown, and its offset; nothing for other formats."""
    if start[:4] in (b"RIFF", b"RF64", b"BW64") and start[8:12] == b"WAVE":
        size_in_ds64 = None
        for name, length, offset in _chunks(file, 12, "little"):
            if name == b"ds64":
                file.seek(offset + 8)
                size_in_ds64 = int.from_bytes(file.read(8), "little")
            if name == b"data":
                wide = start[:4] != b"RIFF" and length == _UNKNOWN
                yield size_in_ds64 if wide else _known(length), offset
                return
    elif start[:4] == b"FORM" and start[8:12] in (b"AIFF", b"AIFC"):
        for name, length, offset in _chunks(file, 12, "big"):
            if name == b"SSND":
                yield _known(length), offset
                return
    elif start[:4] == b"riff" and start[24:28] == b"wave":
        for name, length, offset in _chunks(file, 40, "little", name_bytes=16, length_bytes=8, align=8, inclusive=True):
            if name.startswith(b"data"):
                yield None if length >> 62 else length, offset
                return
    elif start[:4] == b".snd":
        yield _known(int.from_bytes(start[8:12], "big")), int.from_bytes(start[4:8], "big")
    elif start[:4] == b"caff":
        for name, length, offset in _chunks(file, 8, "big", length_bytes=8, align=1):
            if name == b"data":
                yield None if length >> 63 else length, offset
                return


def _known(length: int) -> int | None:
    return None if length == _UNKNOWN or length in _PLACEHOLDERS else length


def _chunks(
    file: BinaryIO,
    position: int,
    order: str,
    *,
    name_bytes: int = 4,
    length_bytes: int = 4,
    align: int = 2,
    inclusive: bool = False,
) -> Iterator[tuple[bytes, int, int]]:
    """The name, the length and the offset of each chunk; with ``inclusive`` lengths, the chunk's head counts."""
    head = name_bytes + length_bytes
    while True:
        file.seek(position)
        bytes_ = file.read(head)
        if len(bytes_) < head:
            return
        length = int.from_bytes(bytes_[name_bytes:], order)  # type: ignore[arg-type]
        if inclusive:
            length = max(0, length - head)
        yield bytes_[:name_bytes], length, position + head
        position += head + length + (-length) % align


def _ogg(file: BinaryIO, size: int) -> Length:
    """Whether the last page is there, whole, and marked as such; and whether a second stream follows the first."""
    position = begun = again = flags = 0
    while position < size:
        file.seek(position)
        head = file.read(27)
        if len(head) < 27 or not head.startswith(b"OggS"):
            position = size + 1  # damaged, or cut within a page's head
            break
        lengths = file.read(head[26])
        flags = head[5]
        again |= begun and flags & _FIRST_PAGE
        begun |= not flags & _FIRST_PAGE
        position += 27 + head[26] + sum(lengths)
    whole = position == size and flags & _LAST_PAGE
    return Length("" if whole else "cut short: its last page is missing", needs_ffmpeg=bool(again))


def _mp3(file: BinaryIO, size: int) -> Length:
    """Whether the first frame states the length, and whether more frames follow after it, as in files joined byte by byte."""
    offset = 0
    while True:
        file.seek(offset)
        head = file.read(10)
        if not head.startswith(b"ID3") or len(head) < 10:
            break
        offset += 10 + sum((head[6 + i] & 127) << (21 - 7 * i) for i in range(4))
    file.seek(offset)
    frame = file.read(256)
    position = max(frame.find(b"Xing"), frame.find(b"Info"))
    states_length = 0 < position < 64 and frame[position + 7 : position + 8] != b"" and frame[position + 7] & 3 == 3
    if not states_length:
        return Length(needs_ffmpeg=True)
    end = offset + int.from_bytes(frame[position + 12 : position + 16], "big")
    if size - end <= _MP3_REST:
        return Length()
    file.seek(end)
    rest = file.read(1 << 12)
    same = int.from_bytes(frame[:4], "big") & _MP3_SAME
    heads = (int.from_bytes(rest[i : i + 4], "big") & _MP3_SAME for i in range(len(rest) - 3))
    return Length(needs_ffmpeg=any(head == same for head in heads))
