"""Ctrl-C that isn't lost inside a library's callback.

Python raises ``KeyboardInterrupt`` in whatever code is running. In a callback of a compiled library (numba's compiler has
some) the exception is printed and dropped, and the work goes on. Code that works in steps can check after each one.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

INTERRUPTED = 130
"""Exit code of an interrupted command."""


@contextmanager
def interrupt_check() -> Iterator[Callable[[], None]]:
    """Yield a function that raises ``KeyboardInterrupt`` if one was raised earlier in the block, and may have been dropped.

    The signal is handled as before too. Outside the main thread, where Python allows no handler, the function never raises.
    """
    before = signal.getsignal(signal.SIGINT)
    received: list[int] = []  # an Event takes a lock, on which a second interrupt would wait for ever

    def check() -> None:
        if received:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield check
        return

    def handle(number: int, frame: Any) -> None:
        received.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, handle)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
