"""How much memory the contents of a file may take, relative to the file.

A small file can describe huge contents: an archive compresses zeros a thousandfold, and references let one list count many
times. Readers therefore bound contents before they are allocated. The bound is `RATIO` times the size of the file, at least
`FLOOR` bytes; the environment variable `OPTION` raises the ratio for a file that is trusted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from imder.types import ImderError

OPTION = "IMDER_MAX_EXPANSION"
RATIO = 100.0
FLOOR = 64 << 20
FEW_ROWS = 1 << 17
DEEPEST = 64
_MIB = 1 << 20
_OBJECT = 32  # bytes that any object counts for, whatever it holds


def max_ratio() -> float:
    """The ratio in force.

    Raises:
        ImderError: the environment variable is no number from 1 on.
    """
    given = os.environ.get(OPTION, "").strip()
    try:
        ratio = float(given) if given else RATIO
    except ValueError:
        ratio = 0.0
    if not 1 <= ratio < float("inf"):
        raise ImderError(f"{OPTION}={given!r}: expected a number from 1 on (default: {RATIO:g})")
    return ratio


class Allowance:
    """The memory that the contents of one file may take.

    Args:
        path: the file.
        size: its size in bytes; read from the file system by default.
        floor: bytes that are always allowed.
    """

    def __init__(self, path: str | Path, size: int | None = None, floor: int = FLOOR) -> None:
        self.path = path
        self.size = Path(path).stat().st_size if size is None else size
        self.ratio = max_ratio()
        self.limit = max(floor, int(self.ratio * self.size))
        self.spent = 0

    def check(self, amount: int) -> None:
        """Raise `ImderError` where contents of ``amount`` bytes are too large."""
        if amount > self.limit:
            raise ImderError(
                f"{self.path}: its contents take more than {self.limit / _MIB:.0f} MiB, in a file of {_shown(self.size)}; "
                f"if you trust the file, set {OPTION} above {self.ratio:g} (times the size of the file)"
            )

    def spend(self, amount: int) -> None:
        """Add to the bytes used so far, and check them."""
        self.spent += amount
        self.check(self.spent)

    def check_rows(self, rows: int) -> None:
        """Raise `ImderError` where there are more rows than a file of this size plausibly has: more than its bytes."""
        if rows > max(FEW_ROWS, self.size * self.ratio / RATIO):
            raise ImderError(
                f"{self.path}: holds {rows} rows in a file of {_shown(self.size)}; if you trust the file, set {OPTION} "
                f"above {self.ratio:g}"
            )


def _shown(size: int) -> str:
    return f"{size / _MIB:.1f} MiB" if size >= _MIB else f"{size} bytes"


class Nesting(ValueError):
    """Contents that hold themselves or are nested too deeply."""


class Measure:
    """The memory of plain containers if every reference were a copy, which is what walking through them costs.

    Args:
        allow: called with the bytes of every part; raises where they are too many.
        parts: the size of the payload and the items of an object that isn't a plain container; None for a plain value.

    Raises:
        Nesting: a container holds itself, or containers are nested more than `DEEPEST` deep.

    >>> Measure(lambda size: None)([[1, 2], "abc"]) > Measure(lambda size: None)([1])
    True
    """

    def __init__(
        self,
        allow: Callable[[int], None],
        parts: Callable[[Any], tuple[int, Iterable[Any]] | None] = lambda item: None,
    ) -> None:
        self._allow, self._parts = allow, parts
        self._known: dict[int, tuple[int, int]] = {}  # id: bytes, height
        self._open: set[int] = set()

    def __call__(self, item: Any) -> int:
        """The bytes of an object that stays alive meanwhile."""
        return self._measure(item, 0)[0]

    def _measure(self, item: Any, depth: int) -> tuple[int, int]:
        if isinstance(item, str | bytes | bytearray):
            return _OBJECT + len(item), 0
        items: Iterable[Any]
        if isinstance(item, dict):
            size, items = 0, (x for pair in item.items() for x in pair)
        elif isinstance(item, list | tuple | set | frozenset):
            size, items = 0, item
        elif (parts := self._parts(item)) is not None:
            size, items = parts
        else:
            return _OBJECT, 0
        key = id(item)
        if key in self._open:
            raise Nesting("a container that holds itself")
        if key not in self._known:
            if depth >= DEEPEST:
                raise Nesting(f"containers nested more than {DEEPEST} deep")
            self._open.add(key)
            size, height = size + 2 * _OBJECT, 0
            for x in items:
                more, below = self._measure(x, depth + 1)
                size, height = size + more, max(height, below)
                if size > _CHECKED:
                    self._allow(size)
            self._open.remove(key)
            self._allow(size)
            self._known[key] = size, height + 1
        size, height = self._known[key]
        if depth + height > DEEPEST:
            raise Nesting(f"containers nested more than {DEEPEST} deep")
        return size, height


_CHECKED = 1 << 16  # smaller sums are checked only when a container is complete
