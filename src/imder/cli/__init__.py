"""The command line: one file for each command, one table of commands. The library never imports it, and only it prints.

This file imports nothing that takes time, so that an interrupt while a command is imported is handled like any other.
"""

from __future__ import annotations

import _thread
import gc
import signal
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from imder.jobs.interrupts import INTERRUPTED

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code.

    Without ``argv`` the words are those of this process, which is expected to exit with the code.
    """
    if argv is not None:
        return _run(argv, [])
    interrupts: list[int] = []
    _catch_all(interrupts)
    try:
        return _run(sys.argv[1:], interrupts)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left but to exit
        gc.freeze()  # Python would search all modules for garbage several times: over a second


def _run(words: Sequence[str], interrupts: list[int]) -> int:
    try:
        from imder.cli.entry import run

        code = run(words)
    except KeyboardInterrupt:
        print("imder: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BaseException:
        if not interrupts:
            raise
        print("imder: interrupted", file=sys.stderr)  # a library made another error of it
        return INTERRUPTED
    if code not in (0, INTERRUPTED) and interrupts:
        print("imder: interrupted", file=sys.stderr)  # the command failed before the interrupt was raised again
        return INTERRUPTED
    return code


def _catch_all(interrupts: list[int]) -> None:
    """Note interrupts in a list, and raise those again that Python would print and drop, as in a destructor."""
    print_unraisable = sys.unraisablehook

    def handle(number: int, frame: Any) -> None:
        interrupts.append(number)
        signal.default_int_handler(number, frame)

    def again() -> None:
        time.sleep(0.05)  # until the hook has ended, where the interrupt would be dropped once more
        _thread.interrupt_main()

    def unraisable(event: UnraisableHookArgs, /) -> None:
        if issubclass(event.exc_type, KeyboardInterrupt):
            _thread.start_new_thread(again, ())
        else:
            print_unraisable(event)

    signal.signal(signal.SIGINT, handle)
    sys.unraisablehook = unraisable
