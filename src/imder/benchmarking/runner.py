"""Runs the cells of a plan with joblib, on one machine or on a cluster.

Cells are independent. What is finished, failed or running is read from the folder, so progress and resuming are the same
under every backend. Rounds repeat until every cell is finished or has failed: a cell that another process runs is waited
for, and one that failed there in the meantime isn't tried again before the next call. A cell whose process was killed is
tried once more, alone: when a worker is killed, the backend ends the others too, and their cells are not to blame.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import joblib

from imder.benchmarking.cell import Source, run_cell
from imder.benchmarking.folder import BenchmarkFolder
from imder.benchmarking.plan import GridCell, Plan
from imder.jobs.backends import BackendName, WorkerFunction, backend_of
from imder.jobs.background import poll
from imder.jobs.locks import is_stale, read_holder
from imder.jobs.threads import threads_per_job
from imder.types import ImderError

KILLS = 2
"""A cell has failed when its process was killed this often."""


@dataclass(frozen=True)
class Status:
    """Progress of a benchmark.

    Attributes:
        total, finished, failed: cells.
        running: names of the running cells, in any process.
        left: estimated seconds left; None until a cell is finished.
    """

    total: int
    finished: int
    failed: int
    running: tuple[str, ...]
    left: float | None


def status(folder: BenchmarkFolder, plan: Plan, cells: Sequence[GridCell], jobs: int) -> Status:
    """Progress by the folder's files; the time left assumes that a model's cells take equally long."""
    seconds_of: dict[str, list[float]] = {}
    open_: list[GridCell] = []
    failed = 0
    for cell in cells:
        about = folder.about(cell)
        if about is not None and folder.finished(cell, plan):
            seconds_of.setdefault(cell.model, []).append(float(about["seconds"]))
        elif folder.reason(cell) is not None:
            failed += 1
        else:
            open_.append(cell)
    mean_seconds = {model: sum(t) / len(t) for model, t in seconds_of.items()}
    left = None
    running = {cell: holder for cell in open_ if (holder := folder.holder(cell)) is not None}
    if mean_seconds:
        overall = sum(mean_seconds.values()) / len(mean_seconds)
        left = sum(mean_seconds.get(cell.model, overall) for cell in open_) / max(1, jobs)
    finished = sum(map(len, seconds_of.values()))
    return Status(len(cells), finished, failed, tuple(cell.name for cell in running), left)


def run_cells(
    path: str | Path,
    source: Source,
    plan: Plan,
    cells: Sequence[GridCell],
    *,
    jobs: int = 1,
    threads: int = 0,
    backend: BackendName = "loky",
    address: str | None = None,
    device: str = "auto",
    report: Callable[[Status], None] | None = None,
    every: float = 1.0,
) -> dict[GridCell, str]:
    """Run cells.

    Args:
        path: the benchmark's folder, which holds the plan.
        source: the corpus, read by every worker.
        plan: the whole plan.
        cells: which of its cells.
        jobs: at once.
        threads: of each; 0 for an equal share of the processors.
        backend: joblib's backend.
        address: of a running cluster (``ray``, ``dask``); None to start one here.
        device: ``auto``, ``cpu`` or ``cuda``.
        report: called with the status, every few seconds, in a thread.
        every: seconds between two looks at the folder.

    Returns:
        The cells that failed, and why.

    Raises:
        ImderError: options that don't fit together, or a backend that isn't installed.
        KeyboardInterrupt: the same call goes on with what is finished.
    """
    if jobs < 1:
        raise ImderError(f"jobs (--jobs): at least 1, got {jobs}")
    folder = BenchmarkFolder(path)
    threads = threads_per_job(threads, jobs)
    killed: dict[GridCell, int] = {}
    failed: dict[GridCell, str] = {}
    todo = [cell for cell in cells if not folder.finished(cell, plan)]
    begun = time.time()
    look = None if report is None else lambda: report(status(folder, plan, cells, jobs))
    with nullcontext() if look is None else poll(look, every), backend_of(backend, jobs, threads, address):
        while todo:
            suspects = [cell for cell in todo if cell in killed]
            now = suspects[:1] or todo
            task = joblib.delayed(WorkerFunction(run_cell, backend))
            tasks = [task(folder.path.absolute(), source, plan, c, threads, device, begun) for c in now]
            try:
                results = joblib.Parallel(n_jobs=jobs, batch_size=1, pre_dispatch="all")(tasks)
            except Exception as error:  # each backend has its own for a worker that was killed
                dead = [cell for cell in now if _abandoned(folder, cell)]
                if not dead:
                    raise ImderError(f"{backend}: {type(error).__name__}: {' '.join(str(error).split())}") from error
                for cell in dead:
                    killed[cell] = killed.get(cell, 0) + 1
                    if killed[cell] >= KILLS:
                        folder.fail(cell, "its process was killed (out of memory?)")
                        failed[cell] = "its process was killed (out of memory?)"
                results = []
            for cell, result in zip(now, results, strict=bool(results)):
                if result == "failed":
                    failed[cell] = folder.reason(cell) or "unknown"
            todo = [cell for cell in todo if cell not in failed and not folder.finished(cell, plan)]
            if "elsewhere" in results and todo:
                _wait(folder, plan, [cell for cell in now if cell in todo] or todo, every)
    return failed


def _abandoned(folder: BenchmarkFolder, cell: GridCell) -> bool:
    """Whether the process that locked a cell is gone."""
    holder = read_holder(folder.file(cell, "lock"))
    return holder is not None and is_stale(holder)


def _wait(folder: BenchmarkFolder, plan: Plan, cells: Sequence[GridCell], every: float) -> None:
    """Wait until a cell is free, or all are finished."""
    while not any(folder.holder(cell) is None for cell in cells if not folder.finished(cell, plan)):
        if all(folder.finished(cell, plan) for cell in cells):
            return
        time.sleep(every)
