"""Stand-ins for numpy's objects while a pickle is read: inert, checked, and replaced by real arrays afterwards.

Even the admitted names don't resolve to numpy's functions, because numpy's reconstruction trusts the file (a forged dtype
turns bytes into pointers): arrays and dtypes are first read as `PickledArray` and `PickledDType`, whose parts are checked.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imder.data.formats.characters import check_characters
from imder.jobs.expansion import Allowance

_DTYPES = re.compile(r"[|<>=]?(b1|\?|[iu][1248]|f(2|4|8|12|16)|c(8|16|24|32)|[SU]\d+|O[48]?)")
_ENCODINGS = frozenset({"latin1", "latin-1", "iso-8859-1", "ascii", "utf-8", "utf8"})
_LONGEST_NUMBER = 1024  # bits


class _Inert:
    """Base of the objects that stand in for numpy's while a pickle is read: no state, no hash, not callable."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("a state for an object without state")


class AdmittedName(_Inert):
    """An admitted name. It isn't the class itself, so no opcode can instantiate or change the class."""

    __slots__ = ("call", "hashes")

    def __init__(self, call: Callable[..., Any] | None = None, hashes: Literal["no", "items", "pairs"] = "no") -> None:
        self.call, self.hashes = call, hashes

    def __call__(self, *args: Any) -> Any:
        """What the name makes of the arguments, which have been checked."""
        if self.call is None:
            raise pickle.UnpicklingError("numpy.ndarray is called directly")
        return self.call(*args)


class PickledDType(_Inert):
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
        """The real dtype."""
        return np.dtype("O") if "O" in self.spec else np.dtype(self.spec).newbyteorder(self.order)


class PickledArray(_Inert):
    """The parts of a numpy array: a shape, a dtype, and bytes or (for objects) a list."""

    __slots__ = ("data", "dtype", "order", "shape")

    def __init__(self) -> None:
        self.__setstate__((1, (0,), PickledDType("f4"), False, b""))

    def __setstate__(self, state: Any) -> None:
        shape, dtype, fortran, data = state[-4:]
        if not isinstance(dtype, PickledDType) or not all(type(n) is int and n >= 0 for n in shape):
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
        """The array; `Resolve` fills arrays of objects, which may hold further arrays."""
        if self.dtype.hasobject:
            return np.empty(self.shape, object)
        if not self.data:
            return np.zeros(self.shape, self.dtype)
        flat = np.frombuffer(self.data, self.dtype)
        check_characters(flat)
        return flat.reshape(self.shape, order=self.order).astype(self.dtype.newbyteorder("="), copy=False)


def _bytes(data: Any) -> bytes | bytearray:
    """Raw data; Python 2 wrote it as a string, which "latin1" turns back into the same bytes."""
    if isinstance(data, str):
        return data.encode("latin1")
    if isinstance(data, (bytes, bytearray)):
        return data
    raise pickle.UnpicklingError(f"a numpy array whose data is {type(data).__name__}")


def _reconstruct(kind: Any, *_: Any) -> PickledArray:
    if kind is not _NDARRAY:
        raise pickle.UnpicklingError("a subclass of numpy.ndarray")
    return PickledArray()


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any = "C", *_: Any) -> PickledArray:
    array = PickledArray()
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
        if args and isinstance(args[0], str):
            return kind(_encode(*args))
        return kind(*args)

    return make


_NDARRAY = AdmittedName()
NAMES: dict[tuple[str, str], AdmittedName] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): AdmittedName(PickledDType),
    ("_codecs", "encode"): AdmittedName(_encode),
    ("collections", "OrderedDict"): AdmittedName(dict, "pairs"),
}
for _core in ("numpy.core", "numpy._core"):
    NAMES[f"{_core}.multiarray", "_reconstruct"] = AdmittedName(_reconstruct)
    NAMES[f"{_core}.multiarray", "scalar"] = AdmittedName(_scalar)
    NAMES[f"{_core}.numeric", "_frombuffer"] = AdmittedName(_frombuffer)
for _module in ("builtins", "__builtin__"):
    NAMES[_module, "dict"] = AdmittedName(dict, "pairs")
    for _set in (set, frozenset):
        NAMES[_module, _set.__name__] = AdmittedName(_set, "items")
    for _type in (list, tuple, complex):
        NAMES[_module, _type.__name__] = AdmittedName(_type)
    for _raw in (bytes, bytearray):
        NAMES[_module, _raw.__name__] = AdmittedName(_from_contents(_raw))


class Resolve:
    """Replace every `PickledArray` and `PickledDType` in a loaded object, in place where possible; each object only once."""

    def __init__(self) -> None:
        self.done: dict[int, tuple[Any, Any]] = {}  # keeps the originals alive, so that no id is reused

    def __call__(self, item: Any) -> Any:
        """The object with real arrays and dtypes."""
        if not isinstance(item, (list, dict, tuple, _Inert)):
            return item
        if id(item) in self.done:
            return self.done[id(item)][1]
        if isinstance(item, tuple):
            new: Any = tuple(self(x) for x in item)
            self.done[id(item)] = (item, new)
        elif isinstance(item, PickledDType):
            new = item.dtype
        elif isinstance(item, PickledArray):
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


def array_parts(item: Any, allowance: Allowance) -> tuple[int, Iterable[Any]] | None:
    """The size and items of an array for `Measure`; None for a plain value, which is checked."""
    if isinstance(item, PickledArray):
        cells = math.prod(max(1, n) for n in item.shape)  # (0, 10^12) holds nothing, but not for what counts rows
        allowance.check(cells * max(1, item.dtype.itemsize))
        return (len(item.data), item.data) if isinstance(item.data, list) else (len(item.data), ())
    if isinstance(item, int) and item.bit_length() > _LONGEST_NUMBER:
        raise pickle.UnpicklingError(f"a whole number of {item.bit_length()} bits")
    return None
