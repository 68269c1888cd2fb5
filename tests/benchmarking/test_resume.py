"""A benchmark that goes on: after an interruption, with more models, shared by processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmark_setup import PAIR, TINY, benchmark, same_tables, stamps
from imder.benchmarking import cell as cell_module
from imder.data.store import write_store
from imder.evaluation.results import read_csv
from imder.synthetic.known_truth import KnownTruth


def test_what_is_finished_is_not_done_again(place: Path, done: Path) -> None:
    before = stamps(done)
    assert benchmark(place, done, *TINY, *PAIR) == 0
    assert stamps(done) == before


def test_a_grid_grows(place: Path, done: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(done, out)
    before = stamps(out)
    assert benchmark(place, out, *TINY, "--models", "{narrow}", "--seeds", 3, "--protocols", "random") == 0
    after = stamps(out)
    assert all(after[path] == stamp for path, stamp in before.items())
    assert {p.name for p in after.keys() - before.keys() if p.suffix == ".json" and p.parent.name == "cells"} == {
        "narrow-any-2.json"
    }
    text = (out / "tables.md").read_text()
    assert "Missing: zero-fill-any-2 (not run yet)." in text
    runs = {p: s for p, s in after.items() if "runs" in p.parts}
    words = ["--models", "zero-fill,{narrow}", "--seeds", 3, "--protocols", "random", "--rates", "0.2"]
    assert benchmark(place, out, *TINY, *words) == 0  # another rate: evaluated again, not trained again
    assert all(stamps(out)[path] == stamp for path, stamp in runs.items())
    assert {row["rate"] for row in read_csv(out / "results.csv")} == {0.0, 0.2, 0.5, None}


def test_after_a_kill_the_tables_are_the_same(place: Path, done: Path, tmp_path: Path, monkeypatch) -> None:
    """One cell dies in evaluation, one in training with its lock held by a dead process; then the same command again."""
    out = tmp_path / "out"
    real, calls = cell_module.evaluator, []

    def breaking(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(cell_module, "evaluator", breaking)
    assert benchmark(place, out, *TINY, *PAIR) == 130
    monkeypatch.undo()
    assert list((out / "cells").glob("*.lock")) == []
    assert len(list((out / "cells").glob("*.csv"))) == 1
    half = out / "runs" / "narrow-any-0"
    for name in ("model.safetensors", "metrics.json", "phases/stage1.safetensors"):
        (half / name).unlink()
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    holder = {"token": "x", "host": socket.gethostname(), "pid": int(gone.stdout), "time": time.time()}
    (out / "cells" / "narrow-any-0.lock").write_text(json.dumps(holder))
    assert benchmark(place, out, *TINY, *PAIR) == 0
    same_tables(done, out)


def test_a_cell_whose_files_are_gone_is_made_again(place: Path, done: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(done, out)
    (out / "cells" / "narrow-any-1.npz").unlink()
    (out / "cells" / "zero-fill-any-0.json").unlink()
    assert benchmark(place, out, *TINY, *PAIR) == 0
    same_tables(done, out)


@pytest.mark.slow
def test_two_processes_share_the_work(place: Path, done: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [str(w).format(narrow=place / "narrow.yaml") for w in [*TINY, *PAIR]]
    command = [sys.executable, "-m", "imder", "benchmark", str(place / "corpus"), "--out", str(out), *words]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    same_tables(done, out)
    logs = [p for p in (out / "runs").rglob("*") if p.name.startswith("events.out")]
    assert len(logs) == 4, "each training began once"


@pytest.mark.slow
def test_jobs_in_processes_give_the_same(place: Path, done: Path, tmp_path: Path) -> None:
    assert benchmark(place, tmp_path / "out", *TINY, *PAIR, "--jobs", 2) == 0
    same_tables(done, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["ray", "dask"])
def test_a_cluster_gives_the_same(backend: str, place: Path, done: Path, tmp_path: Path) -> None:
    pytest.importorskip({"ray": "ray", "dask": "distributed"}[backend], reason=f"{backend} isn't installed")
    assert benchmark(place, tmp_path / "out", *TINY, *PAIR, "--jobs", 2, "--backend", backend) == 0
    same_tables(done, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGKILL])
def test_signals(signal_: signal.Signals, place: Path, tmp_path: Path) -> None:
    """Ctrl-C ends with 130 and frees or leaves behind only what can be taken over; a killed worker is survived."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "imder", "benchmark", str(place / "corpus"), "--out", str(out), "--jobs", "2"]
    command += ["--models", "imder", "--seeds", "2", "--protocols", "natural", "--resamples", "10", "--device", "cpu"]
    command += ["--max-epochs", "12"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until = time.monotonic() + 120
    while not (running := list((out / "runs").glob("*/logs"))) and time.monotonic() < until:
        time.sleep(0.05)
    assert running
    holder = json.loads((out / "cells" / f"{running[0].parent.name}.lock").read_text())
    os.kill(process.pid if signal_ == signal.SIGINT else holder["pid"], signal_)
    _, errors = process.communicate(timeout=240)
    if signal_ == signal.SIGKILL:
        assert process.returncode == 0, errors.decode()
    else:
        assert process.returncode == 130, errors.decode()
        assert (
            errors.decode()
            .rstrip()
            .endswith("interrupted; the same command continues, also in the middle of a training")
        )
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert list((out / "cells").glob("*.lock")) == []


def test_two_processes_of_a_corpus_in_memory_write_it_once(tmp_path, monkeypatch):
    """The second finds the store, which its workers may have opened; nothing replaces it."""
    from imder.benchmarking import folder as module

    corpus, written, path = KnownTruth.standard().corpus(6, 4, 4), [], tmp_path / "corpus"

    def slow(corpus, target):
        written.append(target)
        time.sleep(0.3)
        write_store(corpus, target)

    monkeypatch.setattr(module, "write_store", slow)
    threads = [threading.Thread(target=module.store_once, args=(corpus, path, tmp_path / "a.lock")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert written == [path]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["corpus"]
