"""Uploads: a multipart form, written piece by piece into a private folder.

Names that clients give their files are never used; a file is known by its field, and its kind by its first bytes. FFmpeg would
also read play lists, which name other files and addresses, so only containers of sound and video are accepted.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from imder.serve.config import ServeConfig
from imder.serve.errors import CLOSE, Refusal
from imder.serve.features import DEFAULT_ID, MOST_ID
from imder.types import Spec

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FILES = ("video", "audio")
FIELDS = ("text", "ignore", "window", "hop", "id")
_MOST_PARTS = 32
_MOST_FIELD = 1000  # bytes of a field other than the text


@dataclass
class Form:
    """What a form holds.

    Attributes:
        files: the path of each file by its field.
        fields: the values of each other field, in order.
    """

    files: dict[str, Path] = field(default_factory=dict)
    fields: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class ClipRequest:
    """A checked request of a clip or recording.

    Attributes:
        id: of the clip, which determines the noise of recoveries.
        files: paths by ``video`` and ``audio``.
        text: the words; None if they weren't given.
        ignore: modalities that count as missing.
        window, hop: in seconds, for a time series; None for one prediction.
    """

    id: str
    files: Mapping[str, Path]
    text: str | None
    ignore: frozenset[str]
    window: float | None
    hop: float | None


async def read_form(pieces: AsyncIterator[bytes], content_type: str, folder: Path, config: ServeConfig) -> Form:
    """A form whose files are written into a folder.

    Raises:
        Refusal: it is no form, ends early, or has fields that are unknown, too long or too many.
    """
    _, options = parse_options_header(content_type)
    if not options.get(b"boundary"):
        raise Refusal(400, "the content type of the form has no boundary", CLOSE)
    form = Form()
    parts = _Parts(form, folder, config)
    try:
        parser = MultipartParser(options[b"boundary"], parts.callbacks())
        async for piece in pieces:
            parser.write(piece)
        if not parts.ended:
            raise Refusal(400, "the form ends early", CLOSE)
    except FormParserError:
        raise Refusal(400, "the body is no valid multipart form", CLOSE) from None
    finally:
        parts.close()
    return form


def clip_request(form: Form, spec: Spec, config: ServeConfig) -> ClipRequest:
    """The values of a form, checked.

    Raises:
        Refusal: a value doesn't fit, a file is of an unknown kind, or nothing was given.
    """
    for name, path in form.files.items():
        check_kind(path, name)
    for name, values in form.fields.items():
        if name != "ignore" and len(values) > 1:
            raise Refusal(422, f"{name}: give it once")
    text = form.fields.get("text", [""])[0].strip()
    if len(text) > config.max_text:
        raise Refusal(413, f"text: {len(text)} characters; at most {config.max_text} are taken")
    if "\0" in text:
        raise Refusal(422, "text: holds a null character")
    ignored = [name.strip() for value in form.fields.get("ignore", []) for name in value.split(",") if name.strip()]
    for name in ignored:
        if name not in spec.names:
            raise Refusal(422, f"ignore: unknown modality {name[:40]!a}; known are {', '.join(spec.names)}")
    if not form.files and not text:
        raise Refusal(422, "nothing to predict from: give a video, sound or a text")
    sample = form.fields.get("id", [DEFAULT_ID])[0]
    if not 0 < len(sample) <= MOST_ID:
        raise Refusal(422, f"id: a text of 1 to {MOST_ID} characters is needed")
    window, hop = _seconds(form, "window", config), _seconds(form, "hop", config)
    if window is None and hop is not None:
        raise Refusal(422, "hop: is about windows; give a window too")
    if window is not None and not form.files:
        raise Refusal(422, "window: a text has no times; give sound or a video too")
    if window is not None and config.max_seconds / (hop or window / 4) > config.max_samples * 100:
        raise Refusal(422, "hop: is too short")
    return ClipRequest(sample, form.files, text or None, frozenset(ignored), window, hop)


def check_kind(path: Path, name: str) -> None:
    """Raise a `Refusal` unless a file begins like a container of sound or video."""
    with path.open("rb") as file:
        head = file.read(189)
    if not head:
        raise Refusal(422, f"{name}: the file is empty")
    if not is_media(head):
        raise Refusal(415, f"{name}: no known format of sound or video; WAV, FLAC, MP3, Ogg, MP4, WebM and AVI are")


def is_media(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a container of sound or video.

    >>> is_media(b"RIFF....WAVEfmt "), is_media(b"#EXTM3U"), is_media(b"ffconcat version 1.0")
    (True, False, False)
    """
    if head[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return head[8:12] in (b"WAVE", b"AVI ")
    if head[:4] == b"FORM":
        return head[8:12] in (b"AIFF", b"AIFC")
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return True
    if head[:4] in (b"fLaC", b"OggS", b"\x1aE\xdf\xa3", b"caff", b".snd", b"FLV\x01", b"\x00\x00\x01\xba", b"0&\xb2u"):
        return True
    if head[:3] == b"ID3" or head[:5] == b"#!AMR":
        return True
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # MPEG audio, AAC
        return True
    return len(head) > 188 and head[0] == head[188] == 0x47  # MPEG transport stream


class _Parts:
    """The parts of a form as they arrive: files go to disk, fields stay in memory."""

    def __init__(self, form: Form, folder: Path, config: ServeConfig) -> None:
        self._form, self._folder, self._config = form, folder, config
        self._header, self._value = b"", b""
        self._disposition = b""
        self._name = ""
        self._field = bytearray()
        self._file: BinaryIO | None = None
        self._count = 0
        self.ended = False

    def callbacks(self) -> MultipartCallbacks:
        """By the parser's names."""
        return {
            "on_part_begin": self.part_begin,
            "on_part_data": self.part_data,
            "on_part_end": self.part_end,
            "on_header_field": self.header_field,
            "on_header_value": self.header_value,
            "on_header_end": self.header_end,
            "on_headers_finished": self.headers_finished,
            "on_end": self.end,
        }

    def close(self) -> None:
        """Close the file that is open, if any."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def part_begin(self) -> None:
        self._count += 1
        if self._count > _MOST_PARTS:
            raise Refusal(413, f"the form has more than {_MOST_PARTS} parts", CLOSE)
        self._disposition = b""
        self._field = bytearray()

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("latin-1")
        if self._name in FILES:
            if self._name in self._form.files:
                raise Refusal(422, f"{self._name}: give one file", CLOSE)
            path = self._folder / self._name
            self._form.files[self._name] = path
            self._file = path.open("xb")
        elif self._name not in FIELDS:
            known = ", ".join((*FILES, *FIELDS))
            raise Refusal(422, f"unknown field {self._name[:40]!a} in the form; known are {known}", CLOSE)

    def part_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])
            return
        self._field += data[start:end]
        most = 4 * self._config.max_text if self._name == "text" else _MOST_FIELD
        if len(self._field) > most:
            raise Refusal(413, f"{self._name}: longer than {most} bytes", CLOSE)

    def part_end(self) -> None:
        if self._file is not None:
            self.close()
            return
        try:
            value = self._field.decode("utf-8")
        except UnicodeDecodeError:
            raise Refusal(422, f"{self._name}: is not UTF-8", CLOSE) from None
        self._form.fields.setdefault(self._name, []).append(value)

    def end(self) -> None:
        self.ended = True


def _seconds(form: Form, name: str, config: ServeConfig) -> float | None:
    """A number of seconds above 0; None if it wasn't given."""
    text = form.fields.get(name, [""])[0].strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= config.max_seconds:
        raise Refusal(422, f"{name}: a number of seconds above 0 and up to {config.max_seconds:g} is needed")
    return value
