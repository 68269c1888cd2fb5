"""Mutations of files: of bytes, of the numbers and quotes of texts, of values in JSON, of opcodes in pickles."""

from __future__ import annotations

import io
import json
import pickle
import random
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

Mutation = Callable[[bytes, random.Random, Sequence[bytes]], bytes]

NUMBERS = (0, 1, -1, 127, 128, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
WORDS = (
    *(b"NaN", b"nan", b"-Infinity", b"1e999", b"-1", b"0", b"1" + b"0" * 30, b"9" * 5000, b"1,5", b"1e-320", b"0x10"),
    *(b"", b"null", b"true", b'"', b"'", b"\\", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", "é".encode(), b"\xed\xa0\x80"),
    *(
        b"\r",
        b"\n\n",
        b"\t",
        b";",
        b",",
        b"{" * 50,
        b"[" * 200,
        b"&a [*a]",
        b"<<: *a",
        b"!!python/name:os.system",
        b"-->",
    ),
    *(
        b"00:00:00,000 --> 99:99:99,999",
        b"<b>",
        b"&amp;",
        b"WEBVTT",
        b"\xe2\x80\xa8",
        b"../../x",
        b"/etc/passwd",
        b"a" * 9999,
    ),
)
VALUES = (None, True, -1, 0, 10**30, 1e308, "", "x" * 999, "é", [], {}, [[]], {"a": {}}, [1] * 99, float("nan"))
OPCODES = (
    *(
        b"]q\x00h\x00a",
        b"h\x00h\x00\x86q\x00" * 60,
        b"2",
        b"0",
        b"(",
        b"t",
        b"u",
        b"s",
        b"e",
        b"\x90",
        b"\x91",
        b"R",
        b"b",
        b"\x81",
    ),
    *(
        b"cposix\nsystem\n(S'touch executed'\ntR",
        b"cbuiltins\nlist\nh\x00\x85R" * 500,
        b"\x8c\x05posix\x8c\x06system\x93",
    ),
    *(
        b"cbuiltins\nset\nh\x00\x85R",
        b"\x85" * 5000,
        b"r\xff\xff\xff\x7f",
        b"\x8e" + b"\xff" * 7 + b"\x00",
        b"\x8a\xff" + b"\x7f" * 255,
    ),
    *(
        b"\x95\xff\xff\xff\xff\x00\x00\x00\x00",
        b"ios\nsystem\n",
        b"Pid\n",
        b"\x82\x01",
        b"\x97",
        b"\x8f",
        b"N",
        b"G" + b"\x7f\xf0" + b"\0" * 6,
    ),
)


def flip_bits(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """A few bits."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        if out:
            out[chance.randrange(len(out))] ^= 1 << chance.randrange(8)
    return bytes(out)


def replace_number(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """A binary number of 1 to 8 bytes, little- or big-endian."""
    size = chance.choice((1, 2, 4, 8))
    at = chance.randrange(max(1, len(data) - size + 1))
    value = (chance.choice(NUMBERS) % (1 << 8 * size)).to_bytes(size, chance.choice(("little", "big")))
    return data[:at] + value + data[at + size :]


def cut(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """The end, or a piece from the middle."""
    start = chance.randrange(len(data) + 1)
    return data[:start] if chance.random() < 0.5 else data[:start] + data[start + chance.randrange(1, 200) :]


def repeat(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """A piece, many times."""
    start = chance.randrange(max(1, len(data)))
    piece = data[start : start + chance.choice((1, 4, 40, 400))]
    return data[:start] + piece * chance.choice((2, 10, 100, 5000)) + data[start + len(piece) :]


def splice(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """The beginning of one file and the end of another."""
    other = chance.choice(others)
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other) + 1) :]


def insert_word(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """A piece of text that readers may stumble over, in place of a word or between two."""
    at = chance.randrange(len(data) + 1)
    word = chance.choice(WORDS)
    return data[:at] + word + data[at + (len(word) if chance.random() < 0.5 else 0) :]


def insert_opcode(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """Opcodes of a pickle, before its end or anywhere."""
    at = len(data) - 1 if chance.random() < 0.5 else chance.randrange(len(data) + 1)
    return data[: max(0, at)] + chance.choice(OPCODES) + data[max(0, at) :]


def change_json(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """A value of a JSON document, or its removal; other bytes where it is none."""
    try:
        content = json.loads(data)
        parent, key = _pick(content, chance)
    except (ValueError, IndexError, RecursionError):
        return insert_word(data, chance, others)
    if chance.random() < 0.2:
        del parent[key]
    else:
        parent[key] = chance.choice(VALUES)
    return json.dumps(content).encode()


def change_member(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """Bytes of a member of a zip archive, whose checksums are then right; other bytes where it is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: (archive.read(info), info.compress_type) for info in archive.infolist()}
    except Exception:  # zipfile and zlib have many kinds
        return flip_bits(data, chance, others)
    if not members:
        return flip_bits(data, chance, others)
    name = chance.choice([*members])
    content, compression = members[name]
    if name.endswith(".pkl"):
        content = chance.choice((insert_opcode, flip_bits, cut, repeat, insert_word))(content, chance, others)
    elif chance.random() < 0.5:  # the header of an npy file is text
        head = chance.choice((insert_word, replace_digits, flip_bits))(content[:128], chance, others)
        content = head + content[128:]
    else:
        content = chance.choice((flip_bits, cut, repeat, replace_number))(content, chance, others)
    members[name] = content, compression
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for key, (value, kind) in members.items():
            archive.writestr(key, value, kind)
    return out.getvalue()


def change_safetensors(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """The header of a safetensors file, whose stated length is then right; other bytes where it is none."""
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= len(data) - 8:
        return flip_bits(data, chance, others)
    header = chance.choice((change_json, change_json, replace_digits, insert_word))(
        data[8 : 8 + length], chance, others
    )
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def other_layout(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """The same JSON document, indented and in another encoding; the file twice where it is none."""
    try:
        return json.dumps(json.loads(data), indent=3).encode(chance.choice(("utf-8", "utf-16", "utf-8-sig")))
    except (ValueError, RecursionError):
        return data + data


def replace_digits(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """A number in text, by another number."""
    places = [i for i, byte in enumerate(data) if chr(byte).isdigit()]
    if not places:
        return insert_word(data, chance, others)
    at = chance.choice(places)
    return data[:at] + str(chance.choice(NUMBERS)).encode() + data[at + 1 :]


def _pick(content: Any, chance: random.Random) -> tuple[Any, Any]:
    """A container inside and one of its keys."""
    places: list[tuple[Any, Any]] = []
    pending = [content]
    while pending:
        item = pending.pop()
        for key in item if isinstance(item, dict) else range(len(item)) if isinstance(item, list) else ():
            places.append((item, key))
            pending.append(item[key])
    return chance.choice(places)


BYTES: tuple[Mutation, ...] = (flip_bits, replace_number, cut, repeat, splice)
TEXT: tuple[Mutation, ...] = (insert_word, insert_word, replace_digits, cut, repeat, splice, flip_bits)


def mutate(data: bytes, kinds: Sequence[Mutation], chance: random.Random, others: Sequence[bytes]) -> bytes:
    """A file after one to four mutations."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        data = chance.choice(kinds)(data, chance, others)
    return data


def attack(content: object) -> bytes:
    """A pickle that would make a file named ``executed`` if its opcodes were obeyed."""
    return pickle.dumps(content, 2)[:-1] + b"0cposix\nsystem\n(S'touch executed'\ntR."
