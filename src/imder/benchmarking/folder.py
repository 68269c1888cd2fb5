"""The folder of a benchmark.

benchmark.json       the plan (`imder.benchmarking.plan.Plan`): everything that was requested here
runs/<cell>/         run directories (`imder.training.run`)
cells/<cell>.csv     tidy rows of a cell
cells/<cell>.npz     its predictions, sample by sample
cells/<cell>.json    written last: the cell is finished, what it was evaluated on, how long it took
cells/<cell>.failed.json   why it failed
cells/<cell>.lock    while a process works on it
results.csv, tables.md, tables.tex, significance.csv, additions.csv, *.png     written by `imder.benchmarking.report`
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from imder.benchmarking.arrays import read_arrays, save_arrays
from imder.benchmarking.plan import GridCell, Plan
from imder.data.corpus import Corpus
from imder.data.store import is_store, write_store
from imder.evaluation.results import read_csv, write_csv
from imder.jobs.documents import Entry, read_json
from imder.jobs.files import atomic_write
from imder.jobs.locks import SILENT, Holder, Lock, is_stale, read_holder
from imder.types import ImderError

PATIENCE = 30.0

AGAIN = "; remove it to make it again"


class BenchmarkFolder:
    """Paths and small files of a benchmark's folder."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def run(self, cell: GridCell) -> Path:
        """A cell's run directory."""
        return self.path / "runs" / cell.name

    def file(self, cell: GridCell, ending: str) -> Path:
        """One of a cell's files."""
        return self.path / "cells" / f"{cell.name}.{ending}"

    def plan(self) -> Plan:
        """The plan so far.

        Raises:
            ImderError: there is none, or the file is broken.
        """
        path = self.path / "benchmark.json"
        try:
            return Plan.from_dict(read_json(path))
        except ImderError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ImderError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None

    def join(self, plan: Plan) -> Plan:
        """Merge a plan into the folder's; returns the whole plan.

        Raises:
            ImderError: the folder holds something else, or a plan that doesn't fit this one.
        """
        marker = self.path / "benchmark.json"
        if self.path.exists() and not self.path.is_dir():
            raise ImderError(f"{self.path}: is a file; a benchmark is a folder")
        # Another process may be writing its marker now, under a similar name.
        strangers = self.path.exists() and any(
            p.name != "cells" and not p.name.lstrip(".").startswith(marker.name) for p in self.path.iterdir()
        )
        if strangers and not marker.exists():
            raise ImderError(f"{self.path}: is not empty and not a benchmark's folder; choose another out (--out)")
        try:
            (self.path / "cells").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImderError(f"{self.path}: cannot be written ({error.strerror or error})") from None
        lock = Lock(self.path / "cells" / "plan.lock")
        lock.wait(PATIENCE)
        try:
            whole = self.plan().merge(plan, str(self.path)) if marker.exists() else plan
            write_json(whole.to_dict(), marker)
        finally:
            lock.release()
        return whole

    def finished(self, cell: GridCell, plan: Plan) -> bool:
        """Whether a cell's results cover the plan's protocols and rates."""
        about = self.about(cell)
        if about is None or not all(self.file(cell, e).exists() for e in ("csv", "npz")):
            return False
        return set(plan.protocols) <= set(about["protocols"]) and set(plan.rates_of(cell)) <= set(about["rates"])

    def about(self, cell: GridCell) -> dict[str, Any] | None:
        """A finished cell's description; None for others."""
        return _read_json(self.file(cell, "json"))

    def reason(self, cell: GridCell) -> str | None:
        """Why a cell failed; None if it didn't, or is being tried again."""
        content = _read_json(self.file(cell, "failed.json"))
        return None if content is None else str(content["reason"])

    def failed_since(self, cell: GridCell, moment: float) -> bool:
        """Whether a cell failed after a moment (`time.time`), and nobody has tried it again since."""
        content = _read_json(self.file(cell, "failed.json"))
        return content is not None and float(content.get("time", 0)) >= moment

    def fail(self, cell: GridCell, reason: str, trace: str = "") -> None:
        """Write why a cell failed."""
        write_json({"reason": reason, "time": time.time(), "trace": trace.splitlines()}, self.file(cell, "failed.json"))

    def holder(self, cell: GridCell) -> Holder | None:
        """The process that runs a cell; None if there is none."""
        holder = read_holder(self.file(cell, "lock"))
        return None if holder is None or is_stale(holder) else holder

    def save(
        self,
        cell: GridCell,
        rows: list[dict[str, Any]],
        predictions: Mapping[str, NDArray[Any]],
        about: Mapping[str, Any],
    ) -> None:
        """Write a cell's results; the file that marks it as finished comes last."""
        self.file(cell, "json").unlink(missing_ok=True)
        save_arrays(predictions, self.file(cell, "npz"))
        write_csv(rows, self.file(cell, "csv"))
        write_json(about, self.file(cell, "json"))
        self.file(cell, "failed.json").unlink(missing_ok=True)

    def rows(self, cell: GridCell) -> list[dict[str, Any]]:
        """A finished cell's tidy rows."""
        return read_csv(self.file(cell, "csv"))

    def predictions(self, cell: GridCell) -> dict[str, NDArray[Any]]:
        """A finished cell's predictions (`imder.benchmarking.cell`).

        Raises:
            ImderError: the file is broken.
        """
        return read_arrays(self.file(cell, "npz"))


def store_once(corpus: Corpus, path: Path, lock: Path) -> None:
    """Write a corpus as a store unless it is there; of several processes the first writes it, and the others wait."""
    if is_store(path):
        return
    own = Lock(lock)
    own.wait(SILENT)
    with own.heartbeat():
        if not is_store(path):
            write_store(corpus, path)


def write_json(data: Mapping[str, Any], path: Path) -> None:
    """Write JSON atomically."""
    with atomic_write(path) as part, part.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = read_json(path, finite=False, advice=AGAIN)
    except ImderError:
        if not path.exists():
            return None
        raise
    return Entry(content, str(path)).mapping_of_values()
