"""Small files can't take much memory or time: each is read in a child process of bounded memory and time."""

from __future__ import annotations

import io
import pickle
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imder.data.formats.load import load_corpus
from imder.jobs.expansion import DEEPEST, FLOOR, OPTION, Allowance, Measure, Nesting
from imder.types import ImderError

SECONDS = 60
MEMORY = 3 << 30  # of address space, most of which is code


def header(shape: tuple[int, ...], dtype: str) -> bytes:
    """The beginning of an npy file that claims a shape."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def npz(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def npy(array: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("audio.npy", "w") as member:
        member.write(header((1000, 1024, 256), "<f4"))
        for _ in range(63):
            member.write(bytes(1 << 24))
    return file.getvalue()


def shared_tuples(levels: int = 60) -> Any:
    item: Any = (1.0,)
    for _ in range(levels):
        item = (item, item)
    return item


def chained(levels: int, opcode: bytes = b"\x86") -> bytes:
    """Tuples that hold the one before twice, in opcodes: each is memorised and fetched."""
    return b"\x80\x04K\x01" + b"".join(b"q\x000h\x00h\x00" + opcode for _ in range(levels))


def deep(levels: int) -> bytes:
    return b"\x80\x04)" + b"\x85" * levels


def feature_pickle(**fields: Any) -> bytes:
    return pickle.dumps({"audio": np.ones((3, 2, 2), np.float32), **fields})


LONG = list(range(20_000))
BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "shared tuples.pkl": ("more than", lambda: feature_pickle(vision=shared_tuples())),
    "shared tuples as a key.pkl": ("as a key", lambda: b"\x80\x04}" + chained(60)[2:] + b"K\x01s."),
    "shared tuples in a set.pkl": ("as a key", lambda: b"\x80\x04\x8f(" + chained(60)[2:] + b"\x90."),
    "shared tuples in a frozenset.pkl": ("as a key", lambda: b"\x80\x04(" + chained(60)[2:] + b"\x91."),
    "a list that holds itself.pkl": ("holds itself", lambda: b"\x80\x04]q\x00h\x00a."),
    "a dict that holds itself.pkl": ("holds itself", lambda: b"\x80\x04}q\x00U\x05audioh\x00s."),
    "one list many times.pkl": ("more than", lambda: feature_pickle(id=[LONG] * 20_000)),
    "one list copied.pkl": (
        "more than",
        lambda: (
            b"\x80\x02c__builtin__\nlist\nq\xf0"
            + pickle.dumps(LONG, 2)[2:-1]
            + b"q\x01"
            + b"h\xf0h\x01\x85R" * 20_000
            + b"."
        ),
    ),
    "one text many times.pkl": ("more than", lambda: feature_pickle(raw_text=["x" * 10**6] * 10_000)),
    "deep lists.pkl": (f"more than {DEEPEST} deep", lambda: b"\x80\x04" + b"]" * 10**6 + b"a" * (10**6 - 1) + b"."),
    "deep tuples.pkl": (f"more than {DEEPEST} deep", lambda: deep(10**6) + b"."),
    "deep tuples as a key.pkl": ("as a key", lambda: b"\x80\x04}" + deep(10**6)[2:] + b"K\x01s."),
    "colliding keys.pkl": (
        "keys that are neither",
        lambda: (
            pickle.dumps({"audio": np.ones((2, 3)), "x": {i * (2**61 - 1): 0 for i in range(1, 3)}})[:-1]
            + b"}("
            + b"".join(pickle.dumps(i << 64, 2)[2:-1] + b"K\x00" for i in range(1, 40_000))
            + b"u."
        ),
    ),
    "punycode.pkl": (
        "encode",
        lambda: b"\x80\x02c__builtin__\nbytearray\nX\xa0\x86\x01\x00" + b"a" * 100_000 + b"X\x08\0\0\0punycode\x86R.",
    ),
    "announced bytes.pkl": ("beyond the end", lambda: b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b"."),
    "announced bytearray.pkl": ("beyond the end", lambda: b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b"."),
    "announced frame.pkl": ("beyond the end", lambda: b"\x80\x04\x95" + (1 << 40).to_bytes(8, "little") + b"."),
    "empty rows.pkl": ("more than", lambda: feature_pickle(vision=np.zeros((1 << 40, 0), np.float32))),
    "a long number.pkl": ("bits", lambda: feature_pickle(regression_labels=[1 << 10**6, 0, 0])),
    "empty strings.npz": ("of shape", lambda: npz(audio=npy(np.ones((2, 2, 2))), id=header((2, 10**12), "|S0"))),
    "forged header.npz": ("of shape", lambda: npz(audio=header((10**6, 10**3, 10**3), "<f4") + bytes(64))),
    "empty rows.npz": ("more than", lambda: npz(audio=header((10**12, 0, 3), "<f4"))),
    "many rows.npz": ("rows in a file", lambda: npz(audio=npy(np.zeros((10**7, 1), np.float16)))),
    "zip bomb.npz": ("more than", lambda: bomb()),
    "forged subarray.npz": (
        "of shape",
        lambda: npz(
            audio=b"\x93NUMPY\x01\x00\x76\x00"
            + b"{'descr': ('<f4', (20000, 20000)), 'fortran_order': False, 'shape': (1,), }".ljust(117)
            + b"\n"
        ),
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_small_files_are_refused_in_little_time_and_memory(tmp_path: Path, name: str) -> None:
    reason, make = BOMBS[name]
    path = tmp_path / name
    path.write_bytes(make())
    code = "import sys; from imder.cli import main; sys.exit(main(['data', 'inspect', sys.argv[1]]))"
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    assert result.returncode == 2, result.stderr
    assert result.stderr.count("\n") == 1
    assert str(path) in result.stderr
    assert reason in result.stderr


def test_the_bound_is_relative_to_the_file_and_can_be_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "zeros.npz"
    np.savez_compressed(path, audio=np.zeros((1000, FLOOR // 4000 + 1000), np.float32))
    with pytest.raises(ImderError, match=rf"zeros\.npz: .* set {OPTION} above 100"):
        load_corpus(path)
    monkeypatch.setenv(OPTION, "2000")
    assert len(load_corpus(path).splits["all"]) == 1000
    for wrong in ("0.5", "many", "inf", "nan"):
        monkeypatch.setenv(OPTION, wrong)
        with pytest.raises(ImderError, match=OPTION):
            load_corpus(path)


def test_plain_compressed_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "zeros.npz"
    np.savez_compressed(path, audio=np.zeros((5000, 50, 5), np.float32), id=np.array([f"c{i}" for i in range(5000)]))
    assert len(load_corpus(path).splits["all"]) == 5000


def test_the_measure_counts_every_reference(tmp_path: Path) -> None:
    measure = Measure(lambda size: None)
    once = measure(["x" * 1000])
    assert Measure(lambda size: None)([["x" * 1000]] * 50) > 50 * once
    nested: Any = []
    for _ in range(DEEPEST):
        nested = [nested]
    with pytest.raises(Nesting):
        Measure(lambda size: None)(nested)
    assert Measure(lambda size: None)(nested[0]) > 0
    chain: list[Any] = []  # each is measured at little depth first, so that only heights tell the whole
    for _ in range(3):
        inner: Any = chain[-1] if chain else []
        for _ in range(DEEPEST // 2):
            inner = [inner]
        chain.append(inner)
    with pytest.raises(Nesting):
        Measure(lambda size: None)(chain)
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(ImderError, match="more than"):
        Allowance(tmp_path / "a").spend(FLOOR + 1)
