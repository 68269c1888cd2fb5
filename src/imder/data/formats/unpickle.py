"""Pickles of arrays and plain containers, read without executing them.

A pickle is a program: it can name any callable and call it. This reader admits only the names with which numpy arrays,
numpy scalars and plain containers are written (`imder.data.formats.pickled_arrays`), and refuses every other name before
anything is called.

A small file can't exhaust memory or time either: nothing is allocated from a bare length, copies and hashes are counted
while the file is read, and what has been read is measured with every reference as a copy (`imder.jobs.expansion`) before
anything walks through it.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np

from imder.data.formats.pickled_arrays import NAMES, AdmittedName, Resolve, array_parts
from imder.jobs.expansion import Allowance, Measure
from imder.types import ImderError

_SIZED = (str, bytes, bytearray, list, tuple, dict, set, frozenset)
_COMMON = 1 << 32  # smaller whole numbers are spread well over a hash table, whichever are chosen
_MOST_RARE_KEYS = 1 << 14
_LONGEST_REASON = 200


_Handler = Callable[[Any], None]


class _Source:
    """A file that refuses to read more bytes than it has, instead of making room for them."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def readline(self) -> bytes:
        line = self._file.readline()
        if not line.endswith(b"\n"):
            raise EOFError("the file ends within a line")
        return line

    def read(self, size: int) -> bytes:
        if size > self._left:
            raise EOFError(f"{size} bytes are announced beyond the end of the file")
        return self._file.read(size)


class _Memo(dict[int, Any]):
    """The memo, whose indices can't exceed the bytes of the file."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def __setitem__(self, index: int, item: Any) -> None:
        if index > self._size:
            raise pickle.UnpicklingError(f"memo index {index}")
        super().__setitem__(index, item)


class _Restricted(pickle._Unpickler):
    """An unpickler that knows only the admitted names, and bounds memory and hashing.

    It is the standard library's in Python: the one in C builds whatever the file says (hashes of nested tuples overflow the
    stack or take 2^n steps) before anything can be checked.
    """

    def __init__(self, file: IO[bytes], allowance: Allowance) -> None:
        super().__init__(_Source(file, allowance.size), encoding="latin1")
        self.allowance = allowance
        self.memo: dict[int, Any] = _Memo(allowance.size)
        self._rare_keys = 0

    def find_class(self, module: str, name: str) -> Any:
        try:
            return NAMES[module, name]
        except (KeyError, TypeError):
            _refuse(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        _refuse("a persistent id, which refers to something outside the file")

    def _instantiate(self, klass: Any, args: Any) -> None:
        raise pickle.UnpicklingError("an instance of a class")

    def check_keys(self, keys: Iterable[Any]) -> None:
        """Raise unless hashing the keys of a dict or set is quick: the file chooses them."""
        for key in keys:
            if isinstance(key, str | bytes | bool | None) or (type(key) is int and -_COMMON < key < _COMMON):
                continue
            scalars = key if isinstance(key, tuple) else (key,)
            if not all(isinstance(x, str | bytes | int | float | complex | np.generic | None) for x in scalars):
                raise pickle.UnpicklingError(f"{type(key).__name__} as a key")
            self._rare_keys += 1
            if self._rare_keys > _MOST_RARE_KEYS:
                raise pickle.UnpicklingError(
                    f"more than {_MOST_RARE_KEYS} keys that are neither texts nor small numbers"
                )

    def check_call(self, function: Any, args: Any) -> None:
        """Raise unless the arguments may be copied and, where a dict or set is made of them, hashed."""
        if not isinstance(function, AdmittedName) or not isinstance(args, tuple):
            raise pickle.UnpicklingError(f"a call of {type(function).__name__}")
        self.allowance.spend(sum(8 * len(x) for x in args if isinstance(x, _SIZED)))
        if function.hashes != "no" and args:
            if not isinstance(args[0], list | tuple | set | frozenset | dict):
                raise pickle.UnpicklingError(f"a set or dict of {type(args[0]).__name__}")
            pairs = function.hashes == "pairs" and not isinstance(args[0], dict)
            self.check_keys([pair[0] for pair in args[0]] if pairs else args[0])


def _checked(opcode: bytes, check: Callable[[Any], object]) -> tuple[int, _Handler]:
    """The handler of an opcode, preceded by a check."""
    handler: _Handler = pickle._Unpickler.dispatch[opcode[0]]

    def run(unpickler: Any) -> None:
        check(unpickler)
        handler(unpickler)

    return opcode[0], run


def _no_instances(unpickler: Any) -> None:
    raise pickle.UnpicklingError("an instance of a class")


def _bytearray(unpickler: Any) -> None:
    """Read the bytes, then make the array; the library makes room first."""
    (size,) = struct.unpack("<Q", unpickler.read(8))
    unpickler.append(bytearray(unpickler.read(size)))


_SETS = 216  # bytes of an empty set, which is one byte in the file
_Restricted.dispatch = {
    **pickle._Unpickler.dispatch,
    pickle.BYTEARRAY8[0]: _bytearray,
    **dict(
        [
            _checked(pickle.SETITEM, lambda u: u.check_keys(u.stack[-2:-1])),
            _checked(pickle.SETITEMS, lambda u: u.check_keys(u.stack[::2])),
            _checked(pickle.DICT, lambda u: u.check_keys(u.stack[::2])),
            _checked(pickle.ADDITEMS, lambda u: u.check_keys(u.stack)),
            _checked(pickle.FROZENSET, lambda u: (u.check_keys(u.stack), u.allowance.spend(_SETS))),
            _checked(pickle.EMPTY_SET, lambda u: u.allowance.spend(_SETS)),
            _checked(pickle.REDUCE, lambda u: u.check_call(u.stack[-2], u.stack[-1])),
            _checked(
                pickle.BUILD,
                lambda u: u.allowance.spend(sum(len(x) for x in u.stack[-1] or () if isinstance(x, _SIZED))),
            ),
            *(_checked(opcode, _no_instances) for opcode in (pickle.NEWOBJ, pickle.NEWOBJ_EX)),
        ]
    ),
}


class _Refused(Exception):
    """A name that is not admitted."""


def _refuse(what: str) -> NoReturn:
    raise _Refused(_cut(" ".join(what.split())))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."


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
            allowance = Allowance(path)
            content = _Restricted(file, allowance).load()
            Measure(allowance.check, lambda item: array_parts(item, allowance))(content)
            return Resolve()(content)
    except ImderError:
        raise
    except _Refused as refused:
        raise ImderError(f"{path}: refused {refused}: only numpy arrays and plain containers are accepted") from None
    except OSError as error:
        raise ImderError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # a damaged pickle can end in nearly any exception
        reason = _cut(" ".join(str(error).split()) or type(error).__name__)
        raise ImderError(f"{path}: not a complete pickle of arrays and plain containers ({reason})") from None
