"""Pushed pieces that wait for the stream's thread: bounded for each source, so that one can't crowd out another."""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Inbox(Generic[_T]):
    """A queue from any threads to one.

    Args:
        limits: for each kind of item, the largest sum of sizes that may wait; of a kind that isn't listed, anything may.
        block: whether `put` waits for room; otherwise it refuses.
    """

    def __init__(self, limits: dict[str, int], block: bool) -> None:
        self._limits, self._block = limits, block
        self._items: deque[tuple[str, int, _T]] = deque()
        self._sizes: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._is_closed = False

    def put(self, kind: str, size: int, item: _T) -> bool:
        """Add an item; False if there is no room, or the inbox is closed."""
        limit = self._limits.get(kind)
        with self._changed:
            while not self._is_closed and limit is not None and self._sizes[kind] + size > limit:
                if not self._block or not self._sizes[kind]:  # larger than the limit by itself
                    return False
                self._changed.wait()
            if self._is_closed:
                return False
            self._items.append((kind, size, item))
            self._sizes[kind] += size
            self._changed.notify_all()
            return True

    def get(self, timeout: float | None) -> _T | None:
        """The oldest item; None if none came within ``timeout`` seconds, or the inbox is closed and empty."""
        with self._changed:
            if not self._items and not self._is_closed:
                self._changed.wait(timeout)
            if not self._items:
                return None
            kind, size, item = self._items.popleft()
            self._sizes[kind] -= size
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Refuse further items; those that wait can still be read."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def is_done(self) -> bool:
        """Whether it is closed and empty."""
        with self._changed:
            return self._is_closed and not self._items
