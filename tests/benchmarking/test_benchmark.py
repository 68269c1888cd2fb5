"""The grid: what is done once, what goes on after an interruption, what is refused."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imder.benchmarking import cell as cell_module
from imder.benchmarking import model_specs as entries_module
from imder.benchmarking import runner
from imder.benchmarking.cell import config_of
from imder.benchmarking.folder import BenchmarkFolder
from imder.benchmarking.folds import fold_of
from imder.benchmarking.model_specs import DEFAULT_MODELS, model_specs
from imder.benchmarking.plan import GridCell
from imder.benchmarking.report import write_report
from imder.benchmarking.significance import clusters_of
from imder.cli import main
from imder.data.corpus import Corpus, Ragged, spec_of
from imder.data.fingerprint import fingerprint
from imder.data.formats.load import load_corpus
from imder.data.store import write_store
from imder.evaluation.results import averages, read_csv, summarise
from imder.jobs.locks import SILENT, Lock
from imder.synthetic.known_truth import KnownTruth
from imder.types import ImderError

TABLES = ("results.csv", "significance.csv", "tables.md", "tables.tex")
TINY = ["--max-epochs", 1, "--draws", 2, "--rates", "0,0.5", "--resamples", 20, "--device", "cpu", "--threads", 1]
PAIR = ["--models", "zero-fill,{narrow}", "--seeds", 2, "--protocols", "random,fixed,natural"]


def with_speakers(corpus: Corpus) -> Corpus:
    named = {
        name: replace(split, speaker=tuple(f"p{i % 5}" for i in range(len(split))))
        for name, split in corpus.splits.items()
    }
    return replace(corpus, splits=named)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("benchmark")
    truth = KnownTruth.standard(lengths={"language": (2, 3), "vision": (2, 3), "audio": (2, 2)})
    write_store(with_speakers(truth.corpus(30, 16, 20)), place / "corpus")
    write_store(truth.corpus(30, 16, 20, seed=1), place / "other")
    write_store(truth.corpus(30, 16, 20, task="classification"), place / "classes")
    (place / "narrow.yaml").write_text("preset: zero-fill\nmodel: {encoder: {width: 4}}\n")
    return place


def benchmark(place: Path, out: Path, *words: object, corpus: str = "corpus") -> int:
    words = tuple(str(word).format(narrow=place / "narrow.yaml") for word in words)
    return main(["benchmark", str(place / corpus), "--out", str(out), *words])


@pytest.fixture(scope="module")
def done(place: Path) -> Path:
    """A benchmark of two models and two seeds that nothing disturbed."""
    assert benchmark(place, place / "done", *TINY, *PAIR) == 0
    return place / "done"


def same_tables(one: Path, other: Path) -> None:
    for name in TABLES:
        assert (one / name).read_text() == (other / name).read_text(), name


def stamps(out: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for folder in ("cells", "runs") for p in (out / folder).rglob("*") if p.is_file()}


# What comes out.


def test_files_and_columns(done: Path) -> None:
    rows = read_csv(done / "results.csv")
    assert {row["model"] for row in rows} == {"zero-fill", "narrow", "constant"}
    assert {row["run"] for row in rows if row["model"] == "narrow"} == {"narrow-0", "narrow-1"}
    assert {row["protocol"] for row in rows} == {"random", "fixed", "natural"}
    assert len(rows) == (2 * 2 + 1) * (2 * 2 + 7 + 1)
    assert (done / "random-mae.png").stat().st_size > 1000
    text = (done / "tables.md").read_text()
    assert all(word in text for word in ("ACC2 / F1 / ACC7", "constant", "difference from zero-fill", "dialogues"))
    assert list((done / "cells").glob("*.lock")) == []
    assert not [p for p in done.rglob("*") if ".part" in p.name]


def test_parquet_holds_the_same(done: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow isn't installed")
    table = parquet.read_table(done / "results.parquet").to_pylist()
    rows = read_csv(done / "results.csv")
    assert [row["mae"] for row in table] == [row["mae"] for row in rows]


def test_every_model_and_seed_meets_the_same_masks(done: Path) -> None:
    rows = read_csv(done / "results.csv")
    by_cell: dict[tuple, set] = {}
    for row in rows:
        key = tuple(row[k] for k in ("protocol", "rate", "available", "draw"))
        by_cell.setdefault(key, set()).add((row["effective_rate"], row["n"], row["seed"]))
    assert all(len(found) == 1 for found in by_cell.values())
    plan = BenchmarkFolder(done).plan()
    saved = [BenchmarkFolder(done).predictions(cell) for cell in plan.cells()]
    for one in saved[1:]:
        for protocol in plan.protocols:
            assert (np.isnan(one[protocol]) == np.isnan(saved[0][protocol])).all()


def test_predictions_give_the_rows(done: Path) -> None:
    at = BenchmarkFolder(done)
    cell = at.plan().cells()[0]
    arrays, rows = at.predictions(cell), [row for row in at.rows(cell) if row["protocol"] == "random"]
    errors = np.abs(arrays["random"] - arrays["labels"]).mean(1)
    assert errors == pytest.approx([row["mae"] for row in rows], abs=1e-6)
    assert arrays["random_draw"].tolist() == [row["draw"] for row in rows]


def test_the_bootstrap_agrees_with_the_table(done: Path) -> None:
    rows = read_csv(done / "results.csv")
    mean = {
        m: np.mean([r["mae"] for r in rows if r["model"] == m and r["rate"] == 0.5]) for m in ("zero-fill", "narrow")
    }
    import csv

    with (done / "significance.csv").open() as file:
        found = [r for r in csv.DictReader(file) if (r["rate"], r["metric"], r["protocol"]) == ("0.5", "mae", "random")]
    assert len(found) == 1
    assert float(found[0]["difference"]) == pytest.approx(mean["narrow"] - mean["zero-fill"], abs=1e-6)
    assert float(found[0]["low"]) < float(found[0]["high"])


def test_each_cluster_by_itself(done: Path, place: Path) -> None:
    """``dialogues.csv`` against means over one dialogue's samples, from the predictions."""
    import csv

    at, test = BenchmarkFolder(done), load_corpus(place / "corpus")["test"]
    assert test.dialogue is not None
    with (done / "dialogues.csv").open() as file:
        found = [r for r in csv.DictReader(file) if (r["rate"], r["metric"], r["protocol"]) == ("0.5", "mae", "random")]
    assert {row["cluster"] for row in found} == set(test.dialogue)
    error = {}
    for cell in at.plan().cells():
        arrays = at.predictions(cell)
        mine = np.abs(arrays["random"] - arrays["labels"])[arrays["random_rate"] == 0.5]
        error.setdefault(cell.model, []).append(mine.mean(0))
    for row in found:
        rows = np.array([name == row["cluster"] for name in test.dialogue])
        expected = np.mean(error["narrow"], 0)[rows].mean() - np.mean(error["zero-fill"], 0)[rows].mean()
        assert float(row["difference"]) == pytest.approx(expected, abs=1e-6)
        assert int(row["n"]) == rows.sum()
    assert "on how many of them the system is better than zero-fill" in " ".join(
        (done / "tables.md").read_text().split()
    )


def test_the_seeds_of_late_fusion_are_averaged(place: Path, tmp_path: Path) -> None:
    words = [*TINY, "--models", "late-fusion", "--seeds", 2, "--protocols", "random", "--label-share", 0.5]
    assert benchmark(place, tmp_path / "out", *words) == 0
    at = BenchmarkFolder(tmp_path / "out")
    kept = [at.predictions(cell) for cell in at.plan().cells()]
    errors = np.abs(np.mean([a["random"] for a in kept], 0) - kept[0]["labels"]).mean(1)
    rows = [row for row in read_csv(at.path / "results.csv") if row["model"] == "2 late-fusion"]
    assert [row["mae"] for row in rows] == pytest.approx(errors.tolist(), abs=1e-6)
    text = " ".join((at.path / "tables.md").read_text().split())
    assert "2 late-fusion: the seeds' predictions averaged, 2 times the compute" in text
    assert "Trained for fewer epochs than their presets say: late-fusion." in text
    assert "Share of training labels used: 50 %." in text
    assert at.plan().models["late-fusion"]["training"]["label_share"] == 0.5


def read_comparisons(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_averages_over_seeds_are_compared_too(place: Path, tmp_path: Path) -> None:
    """With the reference's seeds, on average: by hand from the predictions."""
    words = [*TINY, "--models", "late-fusion,zero-fill", "--seeds", 2, "--protocols", "natural"]
    assert benchmark(place, tmp_path / "out", *words) == 0
    at = BenchmarkFolder(tmp_path / "out")
    found = {c.name: at.predictions(c) for c in at.plan().cells()}
    labels = found["late-fusion-any-0"]["labels"]

    def error(*names: str) -> float:
        return float(np.abs(np.mean([found[n]["natural"][0] for n in names], axis=0) - labels).mean())

    rows = read_comparisons(at.path / "significance.csv")
    reference = np.mean([error(f"late-fusion-any-{s}") for s in (0, 1)])
    expected = error("late-fusion-any-0", "late-fusion-any-1") - reference
    row = next(r for r in rows if r["model"] == "2 late-fusion" and r["metric"] == "mae")
    assert row["reference"] == "late-fusion"
    assert float(row["difference"]) == pytest.approx(expected, abs=1e-6)
    assert float(row["difference"]) < 0


def test_rates_beyond_what_can_be_dropped_count_once(place: Path, tmp_path: Path) -> None:
    """Of two modalities one stays: .5, .6 and .7 are one condition, in averages and differences."""
    corpus = load_corpus(place / "corpus")
    without = ("vision",)
    splits = {
        name: replace(split, features={k: r for k, r in split.features.items() if k not in without})
        for name, split in corpus.splits.items()
    }
    write_store(Corpus("two", spec_of(splits, "regression"), splits), place / "two")
    words = [*TINY, "--models", "zero-fill,ridge", "--seeds", 1, "--protocols", "random"]
    words[words.index("0,0.5")] = "0,0.5,0.7"
    assert benchmark(place, tmp_path / "out", *words, corpus="two") == 0
    rows = read_csv(tmp_path / "out" / "results.csv")
    one = {
        rate: np.mean([r["mae"] for r in rows if r["model"] == "ridge" and r["rate"] == rate]) for rate in (0, 0.5, 0.7)
    }
    other = {rate: np.mean([r["mae"] for r in rows if r["model"] == "zero-fill" and r["rate"] == rate]) for rate in one}
    mean = {r["model"]: r["mae"] for r in averages(rows)}
    assert mean["ridge"] == pytest.approx(one[0] / 2 + (one[0.5] + one[0.7]) / 4)
    apart = [r for r in read_comparisons(tmp_path / "out" / "significance.csv") if r["available"] == "average"]
    found = next(float(r["difference"]) for r in apart if r["metric"] == "mae")
    assert found == pytest.approx(mean["ridge"] - (other[0] / 2 + (other[0.5] + other[0.7]) / 4), abs=1e-6)
    text = " ".join((tmp_path / "out" / "tables.md").read_text().split())
    assert "Rates 0.5, 0.7 are one condition, since each sample keeps a modality: 0.500 are dropped." in text


def test_the_floor_knows_the_labels_that_the_models_know(place: Path, tmp_path: Path) -> None:
    """Those of each seed, as the trained runs drew them."""
    words = [
        *TINY,
        "--models",
        "constant-system,zero-fill",
        "--seeds",
        3,
        "--protocols",
        "natural",
        "--label-share",
        0.1,
    ]
    (tmp_path / "constant-system.yaml").write_text("preset: constant\n")
    words[words.index("constant-system,zero-fill")] = f"{tmp_path / 'constant-system.yaml'},zero-fill"
    assert benchmark(place, tmp_path / "out", *words) == 0
    rows = read_csv(tmp_path / "out" / "results.csv")
    baseline = [row["mae"] for row in rows if row["model"] == "constant"]
    assert baseline == pytest.approx([row["mae"] for row in rows if row["model"] == "constant-system"], abs=1e-6)
    assert len(set(baseline)) > 1


def test_every_table_says_who_sees_the_neighbours(place: Path, tmp_path: Path) -> None:
    """Differences and how sure systems are, as much as the metrics; also under another name."""
    (tmp_path / "graph.yaml").write_text("preset: gcnet\nmodel: {hidden: 4}\n")
    words = [*TINY, "--models", f"zero-fill,gcnet,{tmp_path / 'graph.yaml'}", "--seeds", 1, "--protocols", "random"]
    assert benchmark(place, tmp_path / "out", *words) == 0
    tables = (tmp_path / "out" / "tables.md").read_text().split("\n## ")
    assert len(tables) > 5
    for table in tables:
        for name in ("gcnet", "graph"):
            assert f"{name}: predicts a clip from the whole dialogue" in " ".join(table.split())


def test_classification(place: Path, tmp_path: Path) -> None:
    words = [*TINY, "--models", "zero-fill,{narrow}", "--seeds", 1, "--protocols", "fixed"]
    assert benchmark(place, tmp_path / "out", *words, corpus="classes") == 0
    assert "Accuracy / Macro F1 / NLL" in (tmp_path / "out" / "tables.md").read_text()


# Once, and again.


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


# What fails.


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


MISTAKES = [
    (["--models", "nothing"], "no preset 'nothing'"),
    (["--models", "zero-fill:mean"], "no variant 'mean'"),
    (["--models", "zero-fill,zero-fill"], "twice"),
    (["--models", "none.yaml"], "cannot read"),
    (["--models", "CONSTANT"], "stands beside the models"),
    (["--models", ","], "at least one"),
    (["--protocols", "chance"], "unknown protocol 'chance'"),
    (["--rates", "0,x"], "'x' isn't a number"),
    (["--rates", "2"], r"lies in \[0, 1\]"),
    (["--rates", "0.25", "--protocols", "official"], "official protocol: the rate must be one of"),
    (["--per-rate", "--protocols", "fixed"], "no rates to train"),
    (["--table", 3, "--models", "imder"], "leave out --models"),
    (["--address", "auto", "--models", "zero-fill"], "loky has no cluster"),
    (["--folds", 2], "at least 3"),
    (["--folds", 6], "fewer than 6"),
    (["--seeds", 0], "seeds"),
    (["--metrics", "classification"], "classification metrics don't fit a corpus for regression"),
    (["--tuned", "elsewhere"], "nothing is tuned for 'elsewhere'"),
    (["--tuned", "elsewhere", "--folds", 3], "that --folds also tests; leave one out"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=[" ".join(map(str, w)) for w, _ in MISTAKES])
def test_mistakes(words, message, place: Path, tmp_path: Path, capsys) -> None:
    import re

    (tmp_path / "constant.yaml").write_text("preset: zero-fill\n")
    words = [str(tmp_path / "constant.yaml") if word == "CONSTANT" else word for word in words]
    assert benchmark(place, tmp_path / "out", *words) == 2
    errors = capsys.readouterr().err
    assert re.search(message, errors), errors
    assert not list(tmp_path.rglob("*.csv"))


def test_what_a_protocol_refuses_is_not_trained_for(place: Path, tmp_path: Path, capsys) -> None:
    corpus = load_corpus(place / "corpus")
    splits = {
        name: replace(split, features={k: v for k, v in split.features.items() if k != "audio"})
        for name, split in corpus.splits.items()
    }
    spec = replace(corpus.spec, modalities=tuple(m for m in corpus.spec.modalities if m.name != "audio"))
    write_store(replace(corpus, spec=spec, splits=splits), tmp_path / "two")
    words = ["--models", "zero-fill", "--protocols", "random,official"]
    assert benchmark(tmp_path, tmp_path / "out", *words, corpus="two") == 2
    assert "three modalities only" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_another_setting_is_refused(place: Path, done: Path, capsys) -> None:
    before = stamps(done), (done / "benchmark.json").read_text()
    for words, message in (
        ([*TINY, "--draws", 3], "draws 2, not 3"),
        ([*TINY, "--max-epochs", 2], "zero-fill's training.stage1.max_epochs 1, not 2"),
        ([*TINY, "--metrics", "sims"], "convention"),
        ([*TINY, "--per-rate"], "per_rate"),
    ):
        protocols = ["--protocols", "random"] if "--per-rate" in words else []
        assert benchmark(place, done, "--models", "zero-fill", *words, *protocols) == 2
        assert message in capsys.readouterr().err
    assert benchmark(place, done, *TINY, *PAIR, corpus="other") == 2
    assert "another corpus" in capsys.readouterr().err
    assert (stamps(done), (done / "benchmark.json").read_text()) == before


def test_other_token_ids_are_another_corpus() -> None:
    """As where an encoder is tuned, the texts are what is learned from, whatever stands beside them."""
    corpus = KnownTruth.standard().corpus(6, 3, 3)

    def with_tokens(last: int) -> Corpus:
        ids = Ragged.from_list([np.array([[101], [7 + i], [102]]) for i in range(5)] + [np.array([[101], [last]])], 1)
        return replace(corpus, splits={**corpus.splits, "train": replace(corpus["train"], tokens=ids)})

    found = [fingerprint(c) for c in (corpus, with_tokens(102), with_tokens(103), with_tokens(102))]
    assert found[1] == found[3]
    assert len(set(found)) == 3


def test_settings_that_came_since_change_nothing(place: Path, done: Path, capsys) -> None:
    """A folder of an older version lacks them; what it has may not differ."""
    file = done / "benchmark.json"
    before = file.read_text()
    older = json.loads(before)
    for model in older["models"].values():
        del model["training"]["label_share"]
    file.write_text(json.dumps(older))
    assert benchmark(place, done, *TINY, *PAIR) == 0
    file.write_text(before)


def test_a_folder_of_something_else(place: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    assert benchmark(place, tmp_path, "--models", "zero-fill") == 2
    assert "not a benchmark's" in capsys.readouterr().err


# Models, rates, folds.


def test_default_models_and_variants(monkeypatch) -> None:
    assert [e.name for e in model_specs(DEFAULT_MODELS)] == list(DEFAULT_MODELS)
    (variant,) = model_specs(["imder:one-draw"])
    assert (variant.config.model.num_samples, variant.config.preset) == (1, "fast")
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
    assert {config_of(plan, cell).training.missing_rate for cell in plan.cells()} == {0.0, 0.5}
    assert "average" in (out / "tables.md").read_text()


def test_a_model_for_each_rate_of_the_official_schedule(place: Path, tmp_path: Path, capsys) -> None:
    """Trains under that schedule, says so, and can't be mixed with models that train on exact masks."""
    out = tmp_path / "out"
    words = [*TINY, "--seeds", 1, "--per-rate", "--official-batch-size", 4]
    assert benchmark(place, out, *words, "--models", "zero-fill", "--protocols", "official") == 0
    plan = BenchmarkFolder(out).plan()
    trained = [config_of(plan, cell).training for cell in plan.cells()]
    assert {(t.missing_rate, t.nominal_rate) for t in trained} == {("official", 0.0), ("official", 0.5)}
    assert "trained under the official protocol" in " ".join((out / "tables.md").read_text().split())
    capsys.readouterr()
    assert benchmark(place, out, *words, "--models", "zero-fill", "--protocols", "official,random") == 2
    assert "was started with training_protocol official" in capsys.readouterr().err
    assert benchmark(place, tmp_path / "new", *words, "--models", "gcnet", "--protocols", "official") == 2
    assert "leave gcnet out" in capsys.readouterr().err


def test_folds_test_every_speaker_once(place: Path, tmp_path: Path) -> None:
    corpus = load_corpus(place / "corpus")
    parts = [fold_of(corpus, f, 4) for f in range(4)]
    clustered_tests = [i for part in parts for i in part["test"].ids]
    assert sorted(clustered_tests) == sorted(i for split in corpus.splits.values() for i in split.ids)
    for part in parts:
        speakers = [set(part[name].speaker or ()) for name in ("train", "valid", "test")]
        assert sum(map(len, speakers)) == len(set.union(*speakers)) == 5
    row = corpus["test"].ids.index(parts[0]["test"].ids[0]) if parts[0]["test"].ids[0] in corpus["test"].ids else None
    if row is not None:
        assert np.array_equal(parts[0]["test"].features["audio"][0], corpus["test"].features["audio"][row])
    words = [*TINY, "--models", "zero-fill,{narrow}", "--seeds", 1, "--protocols", "natural", "--folds", 3]
    assert benchmark(place, tmp_path / "out", *words) == 0
    text = " ".join((tmp_path / "out" / "tables.md").read_text().split())
    assert "Rotation over speakers in 3 folds" in text
    assert "the test samples of all rotations together" in text


def test_deviations_hold_that_between_folds(place: Path, tmp_path: Path) -> None:
    """Of the average over rates too: other speakers are clustered_tests in each rotation, whatever the rate."""
    words = [*TINY, "--models", "late-fusion", "--seeds", 2, "--protocols", "random", "--folds", 3]
    assert benchmark(place, tmp_path / "out", *words) == 0
    rows = read_csv(tmp_path / "out" / "results.csv")
    for row in (*summarise(rows), *averages(rows)):
        assert row["runs"] == {"late-fusion": 6, "2 late-fusion": 3, "constant": 3}[row["model"]]
        assert row["draws"] == 2
    mine = [row for row in rows if row["model"] == "late-fusion"]
    of_runs = [np.mean([r["mae"] for r in mine if r["run"] == run]) for run in {r["run"] for r in mine}]
    (average,) = (row for row in averages(rows) if row["model"] == "late-fusion")
    assert average["mae_sd"] >= np.std(of_runs, ddof=1) - 1e-9


def test_clusters(place: Path) -> None:
    split = load_corpus(place / "corpus")["test"]
    assert clusters_of(split)[1] == "dialogues"
    assert clusters_of(replace(split, dialogue=None))[1] == "speakers"
    assert clusters_of(replace(split, dialogue=None, speaker=None)) == (list(split.ids), "samples")


# Locks.


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


# Signals.


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
        assert errors.decode().rstrip().endswith("imder: interrupted; the same command goes on with what is finished")
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert list((out / "cells").glob("*.lock")) == []
