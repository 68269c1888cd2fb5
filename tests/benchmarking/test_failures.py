"""Cells that fail, and workers that are killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark_setup import TINY, benchmark
from imder.benchmarking import cell as cell_module
from imder.benchmarking import runner
from imder.benchmarking.folder import BenchmarkFolder
from imder.benchmarking.plan import GridCell
from imder.evaluation.results import read_csv
from imder.jobs.locks import Lock


def test_a_failing_cell_leaves_the_others(place: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    real = cell_module.train

    def failing(corpus, out, **kwargs):
        if "narrow-any-1" in str(out):
            raise RuntimeError("out of luck\nsecond line")
        return real(corpus, out, **kwargs)

    monkeypatch.setattr(cell_module, "train", failing)
    out = tmp_path / "out"
    assert benchmark(place, out, *TINY, "--models", "zero-fill,{narrow}", "--seeds", 2, "--protocols", "natural") == 3
    reason = "RuntimeError: out of luck second line"
    assert f"narrow-any-1: {reason}" in capsys.readouterr().err
    assert f"Missing: narrow-any-1 ({reason})." in (out / "tables.md").read_text()
    assert {row["run"] for row in read_csv(out / "results.csv")} == {"zero-fill-0", "zero-fill-1", "narrow-0", ""}
    trace = json.loads((out / "cells" / "narrow-any-1.failed.json").read_text())["trace"]
    assert any("failing" in line for line in trace)
    monkeypatch.undo()
    assert benchmark(place, out, *TINY, "--models", "zero-fill,{narrow}", "--seeds", 2, "--protocols", "natural") == 0
    assert "Missing" not in (out / "tables.md").read_text()


def test_what_failed_in_another_process_is_not_tried_again(place: Path, tmp_path: Path, monkeypatch) -> None:
    """Until somebody asks anew."""
    tried = []
    monkeypatch.setattr(cell_module, "train", lambda *a, **k: tried.append(1) or 1 / 0)
    assert benchmark(place, tmp_path / "out", *TINY, "--models", "zero-fill", "--seeds", 1) == 1
    at = BenchmarkFolder(tmp_path / "out")
    plan = at.plan()
    (cell,) = plan.cells()
    source = cell_module.Source(str(place / "corpus"))
    earlier = at.file(cell, "failed.json").stat().st_mtime - 5
    assert cell_module.run_cell(at.path, source, plan, cell, 1, "cpu", earlier) == "failed"
    assert len(tried) == 1
    assert cell_module.run_cell(at.path, source, plan, cell, 1, "cpu", time.time()) == "failed"
    assert len(tried) == 2


def test_nothing_works(place: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(cell_module, "train", lambda *a, **k: 1 / 0)
    assert benchmark(place, tmp_path / "out", *TINY, "--models", "zero-fill", "--seeds", 1) == 1
    assert "zero-fill-any-0: ZeroDivisionError" in capsys.readouterr().err


def test_a_killed_worker_is_tried_once_more(place: Path, tmp_path: Path, monkeypatch) -> None:
    """Each backend says it in its own way; what they share is a lock that nobody holds any more."""
    out = tmp_path / "out"
    died: list[GridCell] = []

    def dying(at, source, plan, cell, threads, device, asked):
        died.append(cell)
        gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
        holder = {"token": "x", "host": socket.gethostname(), "pid": int(gone.stdout), "time": time.time()}
        BenchmarkFolder(at).file(cell, "lock").write_text(json.dumps(holder))
        raise BrokenPipeError("worker died")

    monkeypatch.setattr(runner, "run_cell", dying)
    assert benchmark(place, out, *TINY, "--models", "zero-fill", "--seeds", 1) == 1
    assert len(died) == runner.KILLS
    assert "killed" in str(BenchmarkFolder(out).reason(died[0]))


@pytest.mark.slow
def test_only_the_cell_that_gets_its_worker_killed_fails(done: Path, tmp_path: Path, monkeypatch) -> None:
    """A worker's death takes the others with it: what they worked on is innocent, and is finished."""
    plan = BenchmarkFolder(done).plan()
    at = BenchmarkFolder(tmp_path / "out")
    at.join(plan)
    guilty, innocent = (GridCell("zero-fill", None, seed) for seed in (0, 1))
    others = at.file(innocent, "lock")

    def working(place, source, plan, cell, threads, device, asked):
        lock = Lock(BenchmarkFolder(place).file(cell, "lock"))
        assert lock.acquire()
        if cell.seed == 0:
            until = time.monotonic() + 60
            while not others.exists() and time.monotonic() < until:
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(2)
        about = {"protocols": list(plan.protocols), "rates": list(plan.rates), "seconds": 2.0}
        BenchmarkFolder(place).save(cell, [{"mae": 1.0}], {}, about)
        lock.release()
        return "finished"

    monkeypatch.setattr(runner, "run_cell", working)
    failed = runner.run_cells(at.path, cell_module.Source(""), plan, [guilty, innocent], jobs=2)
    assert set(failed) == {guilty}
    assert at.finished(innocent, plan)
