"""A thread that calls a function at intervals while a block runs: heartbeats, progress."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(function: Callable[[], None], every: float) -> Iterator[None]:
    """Call ``function`` in a thread each ``every`` seconds while the block runs; the thread ends with the block.

    >>> calls = []
    >>> with repeating(lambda: calls.append(1), every=3600):
    ...     pass
    >>> calls
    []
    """
    finished = threading.Event()

    def run() -> None:
        while not finished.wait(every):
            function()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


@contextmanager
def poll(function: Callable[[], None], every: float) -> Iterator[None]:
    """Call ``function`` when the block begins, each ``every`` seconds while it runs, and when it ends or fails.

    >>> calls = []
    >>> with poll(lambda: calls.append(1), every=3600):
    ...     pass
    >>> len(calls)
    2
    """
    function()
    try:
        with repeating(function, every):
            yield
    finally:
        function()
