"""Pickles of arrays and plain containers, read without executing them.

A pickle is a program: it can name any callable and call it. This reader admits only the names with which numpy arrays,
numpy scalars and plain containers are written, and refuses every other name before anything is called. Even the admitted
names don't resolve to numpy's functions, because numpy's reconstruction trusts the file (a forged dtype turns bytes into
pointers): arrays and dtypes are first read as the inert `_Array` and `_DType`, whose parts are checked, and are replaced by
real arrays once the whole file has been read.

A small file can't exhaust memory either: memo indices (a forged one makes the unpickler allocate billions of slots) are
checked in a pass over the opcodes beforehand, and nothing is allocated from a bare length.
"""

from __future__ import annotations

import math
import pickle
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from imder.types import ImderError

_DTYPES = re.compile(r"[|<>=]?(b1|\?|[iu][1248]|f(2|4|8|12|16)|c(8|16|24|32)|[SU]\d+|O[48]?)")
_ENCODINGS = frozenset({"latin1", "latin-1", "iso-8859-1", "ascii", "utf-8", "utf8"})


class _Inert:
    """Base of the objects that stand in for numpy's while a pickle is read: no state, no hash, not callable."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("a state for an object without state")


class _Name(_Inert):
    """An admitted name. It isn't the class itself, so no opcode can instantiate or change the class."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[..., Any] | None = None) -> None:
        self.call = call

    def __call__(self, *args: Any) -> Any:
        if self.call is None:
            raise pickle.UnpicklingError("numpy.ndarray is called directly")
        return self.call(*args)


class _DType(_Inert):
    """``numpy.dtype(spec)`` and its state, of which only the byte order is used."""

    __slots__ = ("order", "spec")

    def __init__(self, spec: Any, *_: Any) -> None:
        if not isinstance(spec, str) or not _DTYPES.fullmatch(spec):
            raise pickle.UnpicklingError(f"numpy dtype {spec!r} is not one of plain numbers, strings or objects")
        self.spec = spec
        self.order: Literal["<", ">", "="] = "="

    def __setstate__(self, state: Any) -> None:
        if any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("a structured numpy dtype")
        self.order = state[1] if state[1] in ("<", ">") else "="

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype("O") if "O" in self.spec else np.dtype(self.spec).newbyteorder(self.order)


class _Array(_Inert):
    """The parts of a numpy array: a shape, a dtype, and bytes or (for objects) a list."""

    __slots__ = ("data", "dtype", "order", "shape")

    def __init__(self) -> None:
        self.__setstate__((1, (0,), _DType("f4"), False, b""))

    def __setstate__(self, state: Any) -> None:
        shape, dtype, fortran, data = state[-4:]
        if not isinstance(dtype, _DType) or not all(type(n) is int and n >= 0 for n in shape):
            raise pickle.UnpicklingError("a numpy array without a valid shape and dtype")
        self.shape: tuple[int, ...] = tuple(shape)
        self.dtype = dtype.dtype
        self.order: Literal["C", "F"] = "F" if fortran else "C"
        if self.dtype.hasobject:
            size = len(data) if isinstance(data, list) else -1
        else:
            data = _bytes(data)
            size = len(data)
        expected = math.prod(self.shape) * (1 if self.dtype.hasobject else self.dtype.itemsize)
        if size != expected:
            raise pickle.UnpicklingError(
                f"a numpy array of shape {self.shape} and {self.dtype} with data of another size"
            )
        self.data = data

    def blank(self) -> NDArray[Any]:
        """The array; `_Resolve` fills arrays of objects, which may hold further arrays."""
        if self.dtype.hasobject:
            return np.empty(self.shape, object)
        if not self.data:
            return np.zeros(self.shape, self.dtype)
        flat = np.frombuffer(self.data, self.dtype)
        return flat.reshape(self.shape, order=self.order).astype(self.dtype.newbyteorder("="), copy=False)


def _bytes(data: Any) -> bytes | bytearray:
    """Raw data; Python 2 wrote it as a string, which "latin1" turns back into the same bytes."""
    if isinstance(data, str):
        return data.encode("latin1")
    if isinstance(data, (bytes, bytearray)):
        return data
    raise pickle.UnpicklingError(f"a numpy array whose data is {type(data).__name__}")


def _reconstruct(kind: Any, *_: Any) -> _Array:
    if kind is not _NDARRAY:
        raise pickle.UnpicklingError("a subclass of numpy.ndarray")
    return _Array()


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any = "C", *_: Any) -> _Array:
    array = _Array()
    array.__setstate__((shape, dtype, order == "F", data))
    return array


def _scalar(dtype: Any, data: Any = b"") -> Any:
    array = _frombuffer(data, dtype, ())
    if array.dtype.hasobject:
        raise pickle.UnpicklingError("a numpy scalar of objects")
    return array.blank()[()]


def _encode(text: Any, encoding: Any = "utf-8") -> bytes:
    if not isinstance(text, str) or encoding not in _ENCODINGS:
        raise pickle.UnpicklingError(f"_codecs.encode with {encoding!r}")
    return text.encode(encoding)


def _from_contents(kind: type[bytes] | type[bytearray]) -> Callable[..., Any]:
    """A constructor that takes contents only: a number would be a length, and allocate that much memory."""

    def make(*args: Any) -> Any:
        if args and not isinstance(args[0], (bytes, bytearray, str, list, tuple)):
            raise pickle.UnpicklingError(f"{kind.__name__} of {type(args[0]).__name__}")
        return kind(*args)

    return make


def _check_memo(file: IO[bytes]) -> None:
    """Raise for a memo index beyond what the bytes before it can have filled; leaves the file at its start."""
    for opcode, argument, position in pickletools.genops(file):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > (position or 0):
            raise pickle.UnpicklingError(f"memo index {argument} at byte {position}")
    file.seek(0)


_NDARRAY = _Name()
_NAMES: dict[tuple[str, str], _Name] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Name(_DType),
    ("_codecs", "encode"): _Name(_encode),
    ("collections", "OrderedDict"): _Name(dict),
}
for _core in ("numpy.core", "numpy._core"):
    _NAMES[f"{_core}.multiarray", "_reconstruct"] = _Name(_reconstruct)
    _NAMES[f"{_core}.multiarray", "scalar"] = _Name(_scalar)
    _NAMES[f"{_core}.numeric", "_frombuffer"] = _Name(_frombuffer)
for _module in ("builtins", "__builtin__"):
    for _type in (list, dict, set, frozenset, tuple, complex):
        _NAMES[_module, _type.__name__] = _Name(_type)
    for _raw in (bytes, bytearray):
        _NAMES[_module, _raw.__name__] = _Name(_from_contents(_raw))


class _Restricted(pickle.Unpickler):
    """An unpickler that knows only the admitted names."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _NAMES[module, name]
        except KeyError:
            _refuse(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        _refuse("a persistent id, which refers to something outside the file")


class _Refused(Exception):
    """A name that is not admitted."""


def _refuse(what: str) -> NoReturn:
    raise _Refused(what)


class _Resolve:
    """Replace every `_Array` and `_DType` in a loaded object, in place where possible; each object only once."""

    def __init__(self) -> None:
        self.done: dict[int, tuple[Any, Any]] = {}  # keeps the originals alive, so that no id is reused

    def __call__(self, item: Any) -> Any:
        if not isinstance(item, (list, dict, tuple, _Inert)):
            return item
        if id(item) in self.done:
            return self.done[id(item)][1]
        if isinstance(item, tuple):
            new: Any = tuple(self(x) for x in item)
            self.done[id(item)] = (item, new)
        elif isinstance(item, _DType):
            new = item.dtype
        elif isinstance(item, _Array):
            new = item.blank()
            self.done[id(item)] = (item, new)
            if item.dtype.hasobject:
                flat = new.reshape(-1)  # numpy writes objects in C order, whatever the array's order
                for i, x in enumerate(item.data):
                    flat[i] = self(x)
        elif isinstance(item, _Inert):
            raise pickle.UnpicklingError("a bare class")
        else:
            new = item
            self.done[id(item)] = (item, new)
            for key, x in enumerate(item) if isinstance(item, list) else list(item.items()):
                item[key] = self(x)
        return new


def restricted_load(path: str | Path) -> Any:
    """Read a pickle that holds only numpy arrays, numpy scalars and plain containers.

    Pickles of Python 2 and of numpy before and after 2.0 are accepted; an ``OrderedDict`` becomes a ``dict``. Arrays may be
    read-only.

    Raises:
        ImderError: the file is missing, truncated or damaged, or names anything else; the message says what was refused,
            and nothing of it has been executed.
    """
    try:
        with open(path, "rb") as file:
            _check_memo(file)
            return _Resolve()(_Restricted(file, encoding="latin1").load())
    except _Refused as refused:
        raise ImderError(f"{path}: refused {refused}: only numpy arrays and plain containers are accepted") from None
    except OSError as error:
        raise ImderError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # a damaged pickle can end in nearly any exception
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImderError(f"{path}: not a complete pickle of arrays and plain containers ({reason})") from None
