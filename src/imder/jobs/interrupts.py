"""Ctrl-C that isn't lost.

Python raises ``KeyboardInterrupt`` wherever it happens to be, and where that is a callback of some library (numba's compiler
has such) it is printed and forgotten: the work goes on. Whoever works in steps can ask after each one whether it came.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def remembering() -> Iterator[Callable[[], None]]:
    """Within the block an interrupt does what it did before, and is remembered: the function given raises it again.

    In another thread than the main one, where Python allows no handler, it never does.
    """
    before = signal.getsignal(signal.SIGINT)
    came: list[int] = []  # an Event takes a lock, on which a second interrupt would wait for ever

    def check() -> None:
        if came:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield check
        return

    def handle(number: int, frame: Any) -> None:
        came.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, handle)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
