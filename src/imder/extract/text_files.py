"""Text files as they come: UTF-8 with or without a byte order mark, or UTF-16 with one, and any ends of lines."""

from __future__ import annotations

import codecs
import io
from pathlib import Path

from imder.types import ImderError

_SAMPLE = 400  # bytes among which zeros are counted


def read_text(path: Path, advice: str = "") -> str:
    """The text of a file, with its ends of lines as they are.

    Raises:
        ImderError: it can't be read, or is neither UTF-8 nor UTF-16 with a byte order mark (``advice`` ends that message).
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImderError(f"{path}: cannot be read ({error.strerror or error})") from None
    return decode(path, content, advice)


def decode(path: Path, content: bytes, advice: str = "") -> str:
    """The text of a file's bytes; see `read_text`."""
    encoding = encoding_of(content)
    wide = encoding == "utf-16"
    name = "UTF-16" if wide else "UTF-8"
    if not wide and 4 * content[:_SAMPLE].count(0) > len(content[:_SAMPLE]):
        raise ImderError(
            f"{path}: is not {name} text (it has zero bytes, as UTF-16 has){advice or '; save it as UTF-8'}"
        )
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise ImderError(f"{path}: is not {name} text (byte {error.start}){advice}") from None


def encoding_of(beginning: bytes) -> str:
    """``utf-16`` for a file that begins with its byte order mark, else ``utf-8-sig``.

    >>> encoding_of("a".encode("utf-16")), encoding_of(b"a")
    ('utf-16', 'utf-8-sig')
    """
    return "utf-16" if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def separator_of(text: str) -> str:
    r"""What separates the cells of a table: the most frequent of comma, semicolon and tab in its first line.

    >>> separator_of("id;text\na,b;c,d,e")
    ';'
    """
    return max(",;\t", key=next(iter(lines_of(text)), "").count)


def lines_of(text: str) -> list[str]:
    r"""The lines of a text, without their ends: ``\n``, ``\r``, ``\r\n``, and the ``\r\r\n`` of files converted twice.

    >>> lines_of("a\r\r\nb\x0bc\rd\n")
    ['a', 'b\x0bc', 'd']
    """
    unix = text.replace("\r\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n")
    return unix.removesuffix("\n").split("\n") if unix else []


def csv_lines(text: str) -> io.StringIO:
    r"""The rows of a CSV for `csv.reader`: only ``\n``, ``\r`` and ``\r\n`` end them, and quoted ones stay in their cells."""
    return io.StringIO(text, newline="")
