"""The restricted unpickler: reads what the field writes, runs nothing."""

from __future__ import annotations

import collections
import contextlib
import copyreg
import os
import pickle
import struct
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from imder.data.formats.unpickle import restricted_load
from imder.types import ImderError


def save(folder: Path, data: bytes | Any, protocol: int = 4) -> Path:
    path = folder / "file.pkl"
    path.write_bytes(data if isinstance(data, bytes) else pickle.dumps(data, protocol))
    return path


def example() -> dict[str, Any]:
    ragged = np.empty(2, object)
    ragged[0], ragged[1] = np.ones((3, 2)), np.zeros((1, 2), np.float32)
    return {
        "floats": np.arange(12.0).reshape(3, 4),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        "half": np.arange(4, dtype=np.float16),
        "big": np.arange(3, dtype=">f8"),
        "ints": np.arange(3),
        "flags": np.array([True, False]),
        "words": np.array(["a", "bcd", "é"]),
        "objects": np.array(["x", None, 3], object),
        "object_matrix": np.asfortranarray(np.array([["a", "b", "c"], ["d", "e", "f"]], object)),
        "ragged": ragged,
        "empty": np.zeros((0, 5), np.float32),
        "zero_d": np.array(2.5),
        "scalar": np.float64(1.5),
        "word": np.str_("hi"),
        "plain": [1, 2.0, "s", b"b", None, True, (1, [2]), {3}, frozenset({4}), 1 + 2j, bytearray(b"x")],
        "ordered": collections.OrderedDict(a=1, b=[np.int64(2)]),
    }


def assert_same(a: Any, b: Any) -> None:
    if isinstance(b, dict):
        assert list(a) == list(b)
        for key in b:
            assert_same(a[key], b[key])
    elif isinstance(b, np.ndarray) and b.dtype == object:
        assert type(a) is np.ndarray
        assert a.shape == b.shape
        for x, y in zip(a.reshape(-1), b.reshape(-1)):
            assert_same(x, y)
    elif isinstance(b, np.ndarray):
        assert type(a) is np.ndarray
        assert a.dtype == b.dtype.newbyteorder("=")
        assert_array_equal(a, b)
    else:
        assert type(a) is type(b)
        assert a == b


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_reads_arrays_and_containers(tmp_path: Path, protocol: int) -> None:
    want = example()
    assert_same(restricted_load(save(tmp_path, want, protocol)), {**want, "ordered": dict(want["ordered"])})


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_reads_the_names_of_old_numpy(tmp_path: Path, protocol: int) -> None:
    want = {"x": np.arange(6.0).reshape(2, 3)}
    data = pickle.dumps(want, protocol)
    if protocol < 4:
        data = data.replace(b"numpy._core", b"numpy.core")
    else:
        for module in (b"numpy._core.multiarray", b"numpy._core.numeric"):
            old = module.replace(b"_core", b"core")
            new = data.replace(bytes([0x8C, len(module)]) + module, bytes([0x8C, len(old)]) + old)
            frame = struct.unpack("<Q", data[3:11])[0] + len(new) - len(data)
            data = new[:3] + struct.pack("<Q", frame) + new[11:]
    assert b"numpy.core." in data
    assert b"_core" not in data
    assert_same(restricted_load(save(tmp_path, data)), want)


class _Python2(pickle._Pickler):  # type: ignore[name-defined, misc]
    """Writes strings and bytes as Python 2 wrote its ``str``."""

    def save_str(self, text: str | bytes) -> None:
        raw = text.encode("ascii") if isinstance(text, str) else text
        self.write(b"T" + struct.pack("<i", len(raw)) + raw)
        self.memoize(text)

    dispatch = {**pickle._Pickler.dispatch, str: save_str, bytes: save_str}  # type: ignore[attr-defined]


def test_reads_pickles_of_python_2(tmp_path: Path) -> None:
    want = {"x": np.array([[1.5, -3e300]]), "id": ["a", "b"], "o": np.array(["y", None], object), "s": np.float32(2)}
    with open(tmp_path / "file.pkl", "wb") as file:
        _Python2(file, 2).dump(want)
    data = (tmp_path / "file.pkl").read_bytes().replace(b"numpy._core", b"numpy.core")
    assert b"_codecs" not in data
    assert_same(restricted_load(save(tmp_path, data)), want)


def test_shared_references(tmp_path: Path) -> None:
    array = np.arange(3.0)
    loaded, again = restricted_load(save(tmp_path, [[array, (array,)], array]))
    assert loaded[1][0] is loaded[0]
    assert again is loaded[0]
    assert_array_equal(loaded[0], array)


def test_refuses_containers_that_hold_themselves(tmp_path: Path) -> None:
    loop: list[Any] = [1]
    loop.append({"x": loop})
    cell = np.empty(1, object)
    cell[0] = cell
    for content in (loop, cell):
        with pytest.raises(ImderError, match=r"file\.pkl: .*holds itself"):
            restricted_load(save(tmp_path, content))


class Call:
    """Pickles as a call of ``function(*args)``."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.reduced = (function, args)

    def __reduce__(self) -> Any:
        return self.reduced


def in_objects(x: Any) -> Any:
    array = np.empty(1, object)
    array[0] = x
    return {"train": {"text": array}}


def name(module: str, attribute: str) -> bytes:
    """A name as protocol 4 writes it, dotted ones included."""
    return text(module) + text(attribute) + b"\x93"


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def numpy_load(mark: Path) -> bytes:
    evil = mark.parent / "evil.npy"
    with open(evil, "wb") as file:
        np.save(file, in_objects(Call(os.system, f"touch {mark}"))["train"]["text"], allow_pickle=True)
    return pickle.dumps(Call(np.load, str(evil), None, True))


def system(mark: Path) -> Call:
    return Call(os.system, f"touch {mark}")


def python(mark: Path) -> str:
    return f"__import__('pathlib').Path({str(mark)!r}).touch()"


CALL = b"\x85R."  # a tuple of one, a call, the end
ATTACKS: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    "os.system": ("posix.system", lambda m: pickle.dumps(system(m))),
    "os.system, protocol 0": ("posix.system", lambda m: pickle.dumps(system(m), 0)),
    "eval": ("builtins.eval", lambda m: pickle.dumps([Call(eval, python(m))])),
    "exec": ("builtins.exec", lambda m: pickle.dumps({"id": Call(exec, python(m))})),
    "eval of python 2": ("__builtin__.eval", lambda m: b"c__builtin__\neval\n(S" + repr(python(m)).encode() + b"\ntR."),
    "getattr": ("builtins.getattr", lambda m: chain(m)),
    "numpy.load": ("numpy.load", numpy_load),
    "an object array": ("posix.system", lambda m: pickle.dumps(in_objects(system(m)))),
    "nested object arrays": ("posix.system", lambda m: pickle.dumps(in_objects(in_objects(system(m))))),
    "a nested pickle": ("_pickle.loads", lambda m: pickle.dumps(Call(pickle.loads, pickle.dumps(system(m))))),
    "a method of an admitted class": ("numpy.ndarray.tofile", lambda m: name("numpy", "ndarray.tofile") + b"."),
    "a dotted attribute": ("builtins.list.__class__", lambda m: name("builtins", "list.__class__") + b"."),
    "a dotted module": ("numpy.os.system", lambda m: name("numpy", "os.system") + text(f"touch {m}") + CALL),
    "numpy.random": ("numpy.random", lambda m: pickle.dumps(np.random.default_rng(0))),
    "memmap": ("numpy.memmap", lambda m: name("numpy", "memmap") + text(str(m)) + CALL),
    "decoding": ("_codecs.decode", lambda m: name("_codecs", "decode") + b"."),
    "copyreg": ("copyreg._reconstructor", lambda m: b"ccopyreg\n_reconstructor\n."),
    "an old instance": ("os.system", lambda m: b"(S'touch " + str(m).encode() + b"'\nios\nsystem\n."),
    "an instance": ("os.system", lambda m: b"(cos\nsystem\nS'touch " + str(m).encode() + b"'\no."),
    "a new object": ("subprocess.Popen", lambda m: b"csubprocess\nPopen\n(S'touch " + str(m).encode() + b"'\nt\x81."),
    "a persistent id": ("persistent id", lambda m: b"Psomewhere\n."),
}


def chain(mark: Path) -> bytes:
    """``getattr(__import__("os"), "system")("touch mark")``."""
    imported = name("builtins", "__import__") + text("os") + b"\x85R"
    return name("builtins", "getattr") + imported + text("system") + b"\x86R" + text(f"touch {mark}") + CALL


@pytest.mark.parametrize("attack", ATTACKS)
def test_refuses_before_executing(tmp_path: Path, attack: str) -> None:
    refused, make = ATTACKS[attack]
    mark = tmp_path / "mark"
    path = save(tmp_path, make(mark))
    with pytest.raises(ImderError, match=r"file\.pkl: refused .*" + refused) as caught:
        restricted_load(path)
    assert not mark.exists()
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("attack", ["os.system", "eval", "getattr", "numpy.load", "an object array", "a nested pickle"])
def test_the_attacks_are_real(tmp_path: Path, attack: str) -> None:
    mark = tmp_path / "mark"
    pickle.loads(ATTACKS[attack][1](mark))
    assert mark.exists()


def test_refuses_registered_extensions(tmp_path: Path) -> None:
    code = 0xF1F2
    copyreg.add_extension("posix", "system", code)
    try:
        data = pickle.dumps(system(tmp_path / "mark"), 2)
        assert b"system" not in data
        with pytest.raises(ImderError, match=r"refused posix\.system"):
            restricted_load(save(tmp_path, data))
    finally:
        copyreg.remove_extension("posix", "system", code)
    assert not (tmp_path / "mark").exists()


def array(
    dtype: str = "f8", state: bytes = b"", data: bytes = b"B\x08\0\0\0" + bytes(8), kind: str = "ndarray"
) -> bytes:
    """An array of shape (1,) in opcodes; ``state`` comes after the dtype, which it may change."""
    empty = name("numpy", kind) + b"K\0\x85" + b"C\x01b" + b"\x87"
    made = name("numpy._core.multiarray", "_reconstruct") + empty + b"R"
    dtypes = name("numpy", "dtype") + text(dtype) + b"\x89\x88\x87R" + state
    return made + b"(K\x01K\x01\x85" + dtypes + b"\x89" + data + b"tb."


FORGED = {
    "bytes for objects": array("O8"),
    "too few bytes": array("f8", data=b"C\x02xx"),
    "a number as data": array("f8", data=b"K\x01"),
    "a structured dtype": array("V8"),
    "a dtype with fields": array("f8", state=b"(K\x03\x8c\x01|N\x8c\x01a\x85}K\x08K\x01K\x1btb"),
    "a dtype of fields by name": array("f8,O"),
    "a scalar of objects": name("numpy._core.multiarray", "scalar")
    + name("numpy", "dtype")
    + text("O8")
    + b"\x85RN\x86R.",
    "a direct array": name("numpy", "ndarray") + b"K\x01\x85" + CALL,
    "another subclass": array(kind="dtype"),
    "a bare name": name("numpy", "ndarray") + b".",
    "a changed name": name("_codecs", "encode") + b"}" + text("__name__") + b"K\x01sb.",
    "a new object of a name": name("builtins", "list") + b")\x81.",
    "another encoding": name("_codecs", "encode") + text("x") + text("zlib_codec") + b"\x86R.",
    "an array as a key": b"}" + array()[:-1] + b"K\x01s.",
}


@pytest.mark.parametrize("forged", FORGED)
def test_refuses_forged_arrays(tmp_path: Path, forged: str) -> None:
    with pytest.raises(ImderError, match=r"file\.pkl: not a complete pickle of arrays"):
        restricted_load(save(tmp_path, FORGED[forged]))


def test_the_forgery_without_forging_is_read(tmp_path: Path) -> None:
    assert_same(restricted_load(save(tmp_path, array())), np.zeros(1))


def test_damaged_files(tmp_path: Path) -> None:
    data = pickle.dumps(example(), 4)
    for end in (0, 1, 10, len(data) // 2, len(data) - 1):
        with pytest.raises(ImderError, match=r"file\.pkl: not a complete pickle"):
            restricted_load(save(tmp_path, data[:end]))
    for junk in (b"PK\x03\x04", b"\x80\x7f.", b"]" * 10, b"\x93.", b"hello", b"\x80\x04h\x05."):
        with pytest.raises(ImderError, match=r"file\.pkl: not a complete pickle"):
            restricted_load(save(tmp_path, junk))
    with pytest.raises(ImderError, match=r"nowhere\.pkl: cannot be read"):
        restricted_load(tmp_path / "nowhere.pkl")


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02}r\xff\xff\xff\x7f.",  # an empty dict, memorised at place 2^31 - 1
        b"}p99999999999\n.",
        b"\x80\x04c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
        b"\x80\x04c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R.",
    ],
    ids=["binary memo", "text memo", "bytearray", "bytes"],
)
def test_a_few_bytes_do_not_ask_for_all_memory(data: bytes, tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ImderError, match="not a complete pickle of arrays and plain containers"):
            restricted_load(save(tmp_path, data))
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=200))
def test_noise_never_ends_in_another_error(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(ImderError):
        restricted_load(save(Path(folder), data))


@given(st.integers(0, 10**6), st.integers(0, 255))
def test_a_changed_byte_never_ends_in_another_error(at: int, value: int) -> None:
    data = bytearray(pickle.dumps(example(), 4))
    data[at % len(data)] = value
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(ImderError):
        restricted_load(save(Path(folder), bytes(data)))
