"""What a benchmark writes: rows, tables, comparisons."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark_setup import TINY, benchmark, read_comparisons
from imder.benchmarking.folder import BenchmarkFolder
from imder.benchmarking.notes import recovery_note
from imder.benchmarking.plan import GridCell
from imder.data.corpus import Corpus, spec_of
from imder.data.formats.load import load_corpus
from imder.data.store import write_store
from imder.evaluation.results import averages, read_csv


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

    with (done / "significance.csv").open() as file:
        found = [r for r in csv.DictReader(file) if (r["rate"], r["metric"], r["protocol"]) == ("0.5", "mae", "random")]
    assert len(found) == 1
    assert float(found[0]["difference"]) == pytest.approx(mean["narrow"] - mean["zero-fill"], abs=1e-6)
    assert float(found[0]["low"]) < float(found[0]["high"])


def test_each_cluster_by_itself(done: Path, place: Path) -> None:
    """``dialogues.csv`` against means over one dialogue's samples, from the predictions."""

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


def test_losses_from_adding_a_modality(done: Path, place: Path) -> None:
    """``additions.csv`` against the predictions of both seeds; the table has the largest of each system."""
    at, test = BenchmarkFolder(done), load_corpus(place / "corpus")["test"]
    rows = read_comparisons(done / "additions.csv")
    assert len(rows) == 2 * 9
    for row in rows:
        subset, added = row["subset"], row["added"]
        larger = "+".join(name for name in test.features if name in (*subset.split("+"), added))
        losses = []
        for cell in (c for c in at.plan().cells() if c.model == row["model"]):
            arrays = at.predictions(cell)
            errors = np.abs(arrays["fixed"] - arrays["labels"])
            by_subset = dict(zip(arrays["fixed_available"].tolist(), errors, strict=True))
            losses.append((by_subset[larger] - by_subset[subset]).mean())
        assert float(row["loss"]) == pytest.approx(np.mean(losses), abs=1e-6)
        assert float(row["low"]) <= float(row["loss"]) <= float(row["high"])
        assert (int(row["n"]), int(row["seeds"])) == (len(test), 2)
    text = (done / "tables.md").read_text()
    section = text[text.index("## fixed protocol: largest loss from adding an available modality") :]
    for model in ("zero-fill", "narrow"):
        worst = max((row for row in rows if row["model"] == model), key=lambda row: float(row["loss"]))
        line = next(line for line in section.splitlines() if line.startswith(f"| {model} |"))
        assert f"{float(worst['loss']):+.3f} [" in line
        assert f"| {worst['added']} to {worst['subset']} |" in line


def test_what_losing_a_modality_costs(done: Path) -> None:
    """The table has, for each system and modality, the opposite of the loss from adding it to all others."""
    rows = [row for row in read_comparisons(done / "additions.csv") if "+" in row["subset"]]
    text = (done / "tables.md").read_text()
    section = text[text.index("## fixed protocol: what losing a modality costs") :]
    assert len(rows) == 2 * 3
    for row in rows:
        start = f"| {row['model']} | {row['added']} | {row['n']} |"
        line = next(line for line in section.splitlines() if line.startswith(start))
        cost, low, high = (-float(row[key]) for key in ("loss", "high", "low"))
        assert f"{cost:+.3f} [{low:+.3f}, {high:+.3f}]" in line.replace("*", "")


def test_a_rate_for_each_modality(place: Path, tmp_path: Path) -> None:
    """The masks of every draw have the rates of their modalities, and the table says them."""
    out = tmp_path / "out"
    words = ["--models", "zero-fill", "--seeds", 1, *TINY, "--draws", 4, "--rates", "audio=0,language=1,vision=.5"]
    assert benchmark(place, out, *words) == 0
    plan, corpus = BenchmarkFolder(out).plan(), load_corpus(place / "corpus")
    cells = plan.evaluation("independent").cells(corpus["test"].present, corpus.spec.names, corpus["test"])
    assert len(cells) == 4
    kept = dict(zip(corpus.spec.names, np.mean([cell.mask for cell in cells], (0, 1)), strict=True))
    assert (kept["audio"], kept["language"]) == (1, 0)
    assert kept["vision"] == pytest.approx(0.5, abs=0.15)
    rows = read_csv(out / "results.csv")
    assert {(row["protocol"], row["rate"]) for row in rows} == {("independent", 0.5)}
    assert "Independent protocol: rates language 1, vision 0.5, audio 0." in (out / "tables.md").read_text()


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
    assert "Trained for fewer epochs than their presets: late-fusion." in text
    assert "Share of training labels used: 50 %." in text
    assert at.plan().models["late-fusion"]["training"]["label_share"] == 0.5


def test_differences_from_late_fusion_too(place: Path, tmp_path: Path) -> None:
    """Where another system is the reference: the same resamples with the sign turned round, and their picture."""
    words = [*TINY, "--models", "ridge,late-fusion", "--seeds", 1, "--protocols", "random"]
    assert benchmark(place, tmp_path / "out", *words) == 0
    rows = read_comparisons(tmp_path / "out" / "significance.csv")
    by_key = {(r["model"], r["rate"], r["available"], r["metric"]): r for r in rows}
    assert {(r["model"], r["reference"]) for r in rows} == {("late-fusion", "ridge"), ("ridge", "late-fusion")}
    for (model, *setting), row in by_key.items():
        if model == "ridge":
            other = by_key["late-fusion", *setting]
            turned = [-float(other[key]) for key in ("difference", "high", "low")]
            assert [float(row[key]) for key in ("difference", "low", "high")] == pytest.approx(turned)
            assert row["effective_rate"] == other["effective_rate"]
    assert (tmp_path / "out" / "random-mae-differences.png").stat().st_size > 1000
    text = (tmp_path / "out" / "tables.md").read_text()
    assert "difference from ridge" in text
    assert "difference from late-fusion" not in text


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


def test_the_constant_baseline_uses_the_labels_that_the_models_use(place: Path, tmp_path: Path) -> None:
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
        note = "See neighbouring clips: gcnet, graph; the others see the clip alone."
        assert note in " ".join(table.split())


def test_classification(place: Path, tmp_path: Path) -> None:
    words = [*TINY, "--models", "zero-fill,{narrow}", "--seeds", 1, "--protocols", "fixed"]
    assert benchmark(place, tmp_path / "out", *words, corpus="classes") == 0
    assert "Accuracy / Macro F1 / NLL" in (tmp_path / "out" / "tables.md").read_text()


def test_a_note_has_recovery_r2_and_on_how_few_samples_it_rests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    abouts = {
        "fast": {"recovery_r2": {"audio": 0.2, "audio | language": 0.3}, "recovery_r2_samples": 1024},
        "paper": {"recovery_r2": {"audio": 0.1}, "recovery_r2_samples": 59},
        "late-fusion": {},
    }
    monkeypatch.setattr(BenchmarkFolder, "about", lambda self, cell: abouts[cell.model])
    note = recovery_note(BenchmarkFolder(tmp_path), [GridCell(model, None, 0) for model in abouts])
    assert note == (
        "Recovery R^2 on test (1: exact, 0: no better than the mean): fast audio 0.20; "
        "paper (at most 59 samples) audio 0.10.",
    )
