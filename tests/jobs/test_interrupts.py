"""An interrupt that a callback swallowed is raised again; the old handler is put back."""

import os
import signal
import threading
from contextlib import suppress

import pytest

from imder.jobs.interrupts import interrupt_check


def test_a_swallowed_interrupt_is_raised_by_the_check():
    before = signal.getsignal(signal.SIGINT)
    with interrupt_check() as check:
        check()
        with suppress(KeyboardInterrupt):  # as a library's callback does
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            check()
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_the_check_never_raises():
    results = []

    def run():
        with interrupt_check() as check:
            results.append(check())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert results == [None]
