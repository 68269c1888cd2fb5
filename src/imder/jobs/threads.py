"""CPU threads of torch: as many as asked for, else as ``OMP_NUM_THREADS`` says, else as the machine allows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from imder.types import ImderError


def set_threads(threads: int) -> None:
    """Use ``threads`` CPU threads in this process; 0 for ``OMP_NUM_THREADS`` or, without it, torch's default.

    Raises:
        ImderError: a negative number.
    """
    import torch

    if chosen := _checked(threads) or omp_threads():
        torch.set_num_threads(chosen)


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """`set_threads` for the length of a block."""
    import torch

    before = torch.get_num_threads()
    set_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_per_job(threads: int, jobs: int) -> int:
    """Threads of each of ``jobs`` processes on one machine.

    Args:
        threads: as asked for; 0 for ``OMP_NUM_THREADS`` or, without it, an equal share of the processors.
        jobs: processes at once, at least 1.

    >>> threads_per_job(3, jobs=100)
    3
    """
    import joblib

    return _checked(threads) or omp_threads() or max(1, joblib.cpu_count() // jobs)


def omp_threads() -> int:
    """``OMP_NUM_THREADS`` (its first number, if it lists one for each level of nesting); 0 where it is unset or invalid."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isascii() and first.isdigit() else 0


def _checked(threads: int) -> int:
    if threads < 0:
        raise ImderError(f"threads: {threads} is negative; give a number of CPU threads, or 0 for the default")
    return threads
