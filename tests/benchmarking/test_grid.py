"""Models, rates and folds of a grid; its locks and status."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark_setup import TINY, benchmark
from imder.benchmarking import model_specs as entries_module
from imder.benchmarking import runner
from imder.benchmarking.folder import BenchmarkFolder
from imder.benchmarking.model_specs import DEFAULT_MODELS, model_specs
from imder.benchmarking.report import write_report
from imder.benchmarking.resampled import clusters_of
from imder.data.formats.load import load_corpus
from imder.evaluation.results import read_csv
from imder.jobs.locks import SILENT, Lock
from imder.types import ImderError


def test_default_models_and_variants(monkeypatch) -> None:
    assert [e.name for e in model_specs(DEFAULT_MODELS)] == list(DEFAULT_MODELS)
    (variant,) = model_specs(["imder:one-draw"])
    assert (variant.config.model.num_samples, variant.config.preset) == (1, "fast")
    (student,) = model_specs(["imder:distilled"])
    assert student.config.training.distillation.max_epochs == 12
    monkeypatch.setattr(entries_module, "VARIANTS", {"mmin": {"slow": {"training.joint.max_epochs": 7}}})
    assert model_specs(["mmin:slow"])[0].config.training.joint.max_epochs == 7


def test_a_model_for_each_rate(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert benchmark(place, out, *TINY, "--models", "zero-fill", "--seeds", 1, "--per-rate") == 0
    rows = [row for row in read_csv(out / "results.csv") if row["model"] == "zero-fill"]
    assert [(r["rate"], r["draw"], r["run"]) for r in rows] == [
        (r, d, "zero-fill-0") for r in (0.0, 0.5) for d in (0, 1)
    ]
    plan = BenchmarkFolder(out).plan()
    assert {plan.config(cell).training.missing_rate for cell in plan.cells()} == {0.0, 0.5}
    assert "average" in (out / "tables.md").read_text()


def test_a_model_for_each_rate_of_the_official_schedule(place: Path, tmp_path: Path, capsys) -> None:
    """Trains under that schedule, says so, and can't be mixed with models that train on exact masks."""
    out = tmp_path / "out"
    words = [*TINY, "--seeds", 1, "--per-rate", "--official-batch-size", 4]
    assert benchmark(place, out, *words, "--models", "zero-fill", "--protocols", "official") == 0
    plan = BenchmarkFolder(out).plan()
    trained = [plan.config(cell).training for cell in plan.cells()]
    assert {(t.missing_rate, t.nominal_rate) for t in trained} == {("official", 0.0), ("official", 0.5)}
    assert "trained under the official protocol" in " ".join((out / "tables.md").read_text().split())
    capsys.readouterr()
    assert benchmark(place, out, *words, "--models", "zero-fill", "--protocols", "official,random") == 2
    assert "was started with training_protocol official" in capsys.readouterr().err
    assert benchmark(place, tmp_path / "new", *words, "--models", "gcnet", "--protocols", "official") == 2
    assert "leave gcnet out" in capsys.readouterr().err


def test_clusters(place: Path) -> None:
    split = load_corpus(place / "corpus")["test"]
    assert clusters_of(split)[1] == "dialogues"
    assert clusters_of(replace(split, dialogue=None))[1] == "speakers"
    assert clusters_of(replace(split, dialogue=None, speaker=None)) == (list(split.ids), "samples")


def test_locks(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    one, other = Lock(path), Lock(path)
    assert one.acquire()
    assert not other.acquire()
    holder = json.loads(path.read_text())
    path.write_text(json.dumps(holder | {"time": time.time() - SILENT - 1, "host": "elsewhere"}))
    assert other.acquire(), "silent for long"
    assert other.held()
    assert not one.held()
    one.release()
    assert path.exists(), "only the holder frees it"
    path.write_text(json.dumps(holder | {"host": "elsewhere", "pid": 1}))
    assert not one.__class__(path).acquire(), "another host's process can't be asked"
    path.write_text("")
    assert not Lock(path).acquire(), "being written"
    os.utime(path, (0, 0))
    assert Lock(path).acquire()


def test_status_and_time_left(done: Path) -> None:
    at = BenchmarkFolder(done)
    plan = replace(at.plan(), seeds=3)
    now = runner.status(at, plan, plan.cells(), jobs=2)
    seconds = [at.about(cell)["seconds"] for cell in at.plan().cells()]
    assert (now.total, now.finished, now.failed, now.running) == (6, 4, 0, ())
    assert now.left == pytest.approx(sum(seconds) / 4, abs=0.01)


def test_a_report_needs_something(place: Path, tmp_path: Path, done: Path) -> None:
    plan = BenchmarkFolder(done).plan()
    at = BenchmarkFolder(tmp_path / "empty")
    at.join(plan)
    with pytest.raises(ImderError, match="no cell is finished"):
        write_report(at.path, load_corpus(place / "corpus"), plan)
