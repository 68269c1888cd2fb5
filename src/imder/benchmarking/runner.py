"""All cells of a plan, by joblib, on one machine or on a cluster.

Cells know nothing of each other; what is done, failed or under way is read from the folder, so progress and resuming are
the same under every backend. Rounds follow one another until every cell is finished or has failed: a cell that another
process works on is waited for, and one that failed there meanwhile isn't tried again until somebody asks anew. One whose
process was killed is tried once more, alone: where a worker is killed, the backend ends the others too, and what they
worked on isn't to blame.
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
from imder.jobs.backends import BackendName, backend_of
from imder.jobs.background import poll
from imder.jobs.locks import is_stale, read_holder
from imder.jobs.threads import threads_per_job
from imder.types import ImderError

KILLS = 2
"""So many times a cell's process may be killed before the cell has failed."""


@dataclass(frozen=True)
class Status:
    """Where a benchmark stands.

    Attributes:
        total, finished, failed: cells.
        running: names of those under way, in any process.
        left: seconds until all is done; None until a cell is finished.
    """

    total: int
    finished: int
    failed: int
    running: tuple[str, ...]
    left: float | None


def status(at: BenchmarkFolder, plan: Plan, cells: Sequence[GridCell], jobs: int) -> Status:
    """Where a benchmark stands, by its files: a model's cells are taken to need as long as those that it has finished."""
    took: dict[str, list[float]] = {}
    open_: list[GridCell] = []
    failed = 0
    for cell in cells:
        about = at.about(cell)
        if about is not None and at.finished(cell, plan):
            took.setdefault(cell.model, []).append(float(about["seconds"]))
        elif at.reason(cell) is not None:
            failed += 1
        else:
            open_.append(cell)
    known = {model: sum(t) / len(t) for model, t in took.items()}
    left = None
    running = {cell: holder for cell in open_ if (holder := at.holder(cell)) is not None}
    if known:
        usual = sum(known.values()) / len(known)
        left = sum(known.get(cell.model, usual) for cell in open_) / max(1, jobs)
    finished = sum(map(len, took.values()))
    return Status(len(cells), finished, failed, tuple(cell.name for cell in running), left)


def run_cells(
    place: str | Path,
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
    """Do cells.

    Args:
        place: the benchmark's folder, joined by the plan.
        source: the corpus; every worker reads it.
        plan: what is asked for in all.
        cells: which of its cells.
        jobs: at once.
        threads: of each; 0 for an equal share of the processors.
        backend: of joblib.
        address: of a running cluster (``ray``, ``dask``); None to start one here.
        device: ``auto``, ``cpu`` or ``cuda``.
        report: called with the status, every few seconds, in a thread.
        every: seconds between two looks at the folder.

    Returns:
        The cells that failed, and why.

    Raises:
        ImderError: options that don't go together, or a backend that isn't installed.
        KeyboardInterrupt: everything can be resumed.
    """
    if jobs < 1:
        raise ImderError(f"--jobs: at least 1, got {jobs}")
    at = BenchmarkFolder(place)
    threads = threads_per_job(threads, jobs)
    killed: dict[GridCell, int] = {}
    failed: dict[GridCell, str] = {}
    todo = [cell for cell in cells if not at.finished(cell, plan)]
    begun = time.time()
    look = None if report is None else lambda: report(status(at, plan, cells, jobs))
    with nullcontext() if look is None else poll(look, every), backend_of(backend, jobs, threads, address):
        while todo:
            suspects = [cell for cell in todo if cell in killed]
            now = suspects[:1] or todo
            tasks = [joblib.delayed(run_cell)(at.path.absolute(), source, plan, c, threads, device, begun) for c in now]
            try:
                results = joblib.Parallel(n_jobs=jobs, batch_size=1, pre_dispatch="all")(tasks)
            except Exception as error:  # each backend has its own for a worker that was killed
                dead = [cell for cell in now if _abandoned(at, cell)]
                if not dead:
                    raise ImderError(f"{backend}: {type(error).__name__}: {' '.join(str(error).split())}") from error
                for cell in dead:
                    killed[cell] = killed.get(cell, 0) + 1
                    if killed[cell] >= KILLS:
                        at.fail(cell, "its process was killed (out of memory?)")
                        failed[cell] = "its process was killed (out of memory?)"
                results = []
            for cell, result in zip(now, results, strict=bool(results)):
                if result == "failed":
                    failed[cell] = at.reason(cell) or "unknown"
            todo = [cell for cell in todo if cell not in failed and not at.finished(cell, plan)]
            if "elsewhere" in results and todo:
                _wait(at, plan, [cell for cell in now if cell in todo] or todo, every)
    return failed


def _abandoned(at: BenchmarkFolder, cell: GridCell) -> bool:
    """Whether a process left a cell without freeing it."""
    holder = read_holder(at.file(cell, "lock"))
    return holder is not None and is_stale(holder)


def _wait(at: BenchmarkFolder, plan: Plan, cells: Sequence[GridCell], every: float) -> None:
    """Until a cell is free, or all are finished."""
    while not any(at.holder(cell) is None for cell in cells if not at.finished(cell, plan)):
        if all(at.finished(cell, plan) for cell in cells):
            return
        time.sleep(every)
