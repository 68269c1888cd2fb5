"""Something small that goes on beside a long piece of work: signs of life, a look at how far things are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(do: Callable[[], None], every: float) -> Iterator[None]:
    """Call ``do`` in a thread each ``every`` seconds while the block runs; the thread has ended when the block has.

    >>> calls = []
    >>> with repeating(lambda: calls.append(1), every=3600):
    ...     pass
    >>> calls
    []
    """
    over = threading.Event()

    def run() -> None:
        while not over.wait(every):
            do()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def poll(look: Callable[[], None], every: float) -> Iterator[None]:
    """Look at something when the block begins, each ``every`` seconds while it runs, and once it is over, however it ends.

    >>> calls = []
    >>> with poll(lambda: calls.append(1), every=3600):
    ...     pass
    >>> len(calls)
    2
    """
    look()
    try:
        with repeating(look, every):
            yield
    finally:
        look()
