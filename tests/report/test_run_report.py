"""The report of a trained system: beside the constant baseline, with its recoveries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from command_line import imder_
from imder.data.corpus import Corpus
from imder.data.loader import collate
from imder.evaluation.evaluate import evaluate
from imder.inference.options import PredictOptions
from imder.models.imder.fixed_weight import fixed_recovery_weight
from imder.models.imder.training import IMDer
from imder.report.encodings import true_and_recovered
from imder.report.moved import moved_section
from imder.report.page import render
from imder.report.run_evaluation import LEVELS, RunEvaluation, RunSettings
from imder.report.run_report import run_report
from imder.synthetic.known_truth import KnownTruth
from imder.training.calibrate import calibrate
from imder.training.config import load_config
from imder.types import Spec
from report.page_parts import assert_self_contained
from small_imder import small_model

SETTINGS = RunSettings(PredictOptions(samples=2), rates=(0.0, 0.5), draws=2, resamples=20)
LENGTHS = {"language": (2, 3), "vision": (2, 3), "audio": (2, 2)}


def two_modalities(task: str) -> Corpus:
    """Language and audio, with texts that are markup."""
    corpus = KnownTruth.standard(lengths=LENGTHS).corpus(8, 24, 60, task=task)
    kept = ("language", "audio")
    spec = Spec(tuple(m for m in corpus.spec.modalities if m.name in kept), corpus.spec.task, corpus.spec.classes)
    splits = {
        name: replace(
            split,
            features={k: split.features[k] for k in kept},
            texts=tuple(f"<b>word {i}</b>" for i in range(len(split))),
        )
        for name, split in corpus.splits.items()
    }
    return replace(corpus, spec=spec, splits=splits)


def small_system(corpus: Corpus) -> IMDer:
    model = small_model("fast", corpus.spec)
    model.calibration = calibrate(model, corpus, load_config("fast").training)
    return model


@pytest.fixture(scope="module", params=["regression", pytest.param("classification", marks=pytest.mark.slow)])
def system(request: pytest.FixtureRequest) -> tuple[IMDer, Corpus]:
    corpus = two_modalities(request.param)
    return small_system(corpus), corpus


def test_every_part_of_a_system_that_recovers(system: tuple[IMDer, Corpus], tmp_path: Path) -> None:
    model, corpus = system
    content = run_report(tmp_path, model, corpus, SETTINGS)
    page = assert_self_contained(render(content))
    titles = [section.title for section in content.sections]
    assert titles[2:] == [
        "Uncertainty: coverage against the promise",
        "Predictions",
        "Recovery: what it explains, and how much it counts",
        "Encodings: true against recovered",
        "Samples that recovery moved most",
        "What was trained on what",
        "Terms",
    ]
    names = {exhibit.name for exhibit in content.exhibits()}
    drawn = {"reliability-0", "confusion-0-fixed"} if model.spec.classes else {"scatter-0-fixed", "scatter-0-random"}
    assert {"promise", "recovery-0", "encodings-0", "encodings-1"} | drawn <= names
    moved = content.sections[-3].passages
    assert 0 < len(moved) <= 10
    assert moved[0].text in page.text
    assert all(
        f"{row.text}" not in render(run_report(tmp_path, model, corpus, SETTINGS, samples=False)) for row in moved[:1]
    )


@pytest.mark.slow
def test_the_frames_that_training_erased_are_erased_in_the_report(tmp_path: Path) -> None:
    corpus = two_modalities("regression")
    erased = load_config("fast", overrides={"training.protocol": "frames"})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(erased.to_dict()))
    titles = [s.title for s in run_report(tmp_path, small_system(corpus), corpus, SETTINGS, samples=False).sections]
    shown = [title.rpartition(" (")[2] for title in titles[:3]]
    assert shown == ["random protocol)", "fixed protocol)", "frames protocol)"]


@pytest.mark.slow
def test_further_protocols_are_sections_of_their_own(tmp_path: Path) -> None:
    corpus = two_modalities("regression")
    protocols = ("natural", "independent", "bursts", "label", "intensity")
    content = run_report(tmp_path, small_system(corpus), corpus, replace(SETTINGS, protocols=protocols))
    assert_self_contained(render(content))
    sections = content.sections[:7]
    assert [section.title.rpartition(" (")[2] for section in sections] == [
        f"{name} protocol)" for name in ("random", "fixed", *protocols)
    ]
    assert all("paired bootstrap" in section.words[0] for section in sections)
    assert all(section.tables and section.words[0].count(". ") >= 1 for section in sections)


def test_samples_can_be_left_out_and_unused_recovery_is_said(tmp_path: Path) -> None:
    corpus = two_modalities("regression")
    model = small_system(corpus)
    with fixed_recovery_weight(model, 0.0):
        content = run_report(tmp_path, model, corpus, SETTINGS, samples=False)
        split = model.prepare(corpus, "test")["test"]
        mask = split.present & np.array([True, False])
        moved = moved_section(model, split, mask, SETTINGS.options, "Without audio")
    assert "No recovery enters a prediction of imder." in " ".join(w for s in content.sections for w in s.words)
    text = render(content)
    assert corpus["test"].ids[0] not in text
    assert "word 0" not in text
    assert moved.title == "Samples that recovery would move most"
    assert f"{len(split)} of {len(split)} incomplete samples move" in moved.words[0]
    assert all("Available language; missing audio." in passage.head for passage in moved.passages)


def test_numbers_are_those_of_evaluate(system: tuple[IMDer, Corpus]) -> None:
    model, corpus = system
    evaluation = RunEvaluation(model, model.prepare(corpus, "test"), SETTINGS, None)
    metric = "nll" if model.spec.classes else "mae"
    rows = evaluate(model, corpus, "random", rates=[0.0, 0.5], draws=2, samples=2)
    mine = [row[metric] for row in rows if row["rate"] == 0.5]
    results = evaluation.results
    constant = [
        r[metric] for r in results.rows if (r["model"], r["protocol"], r["rate"]) == ("constant", "random", 0.5)
    ]
    (difference,) = [
        row["difference"]
        for row in results.differences
        if (row["protocol"], row["rate"], row["metric"]) == ("random", 0.5, metric)
    ]
    assert difference == pytest.approx(np.mean(mine) - np.mean(constant), abs=1e-6)
    everything = "+".join(corpus.spec.names)
    covered = next(row["coverage"] for row in results.rows if row["available"] == everything)
    assert evaluation.coverage(evaluation.cell("fixed", None, everything))[LEVELS.index(0.9)] == pytest.approx(covered)


def test_encodings_are_true_ones_and_recoveries_of_hidden_modalities() -> None:
    corpus = two_modalities("regression")
    model = small_model("fast", corpus.spec)
    split = model.prepare(corpus, "test")["test"]
    parts = {part.modality: part for part in true_and_recovered(model, split, seed=0)}
    assert parts.keys() == {"language", "audio"}
    batch = collate(split, np.arange(len(split)), split.present)
    with torch.no_grad():
        every = {k: e.flatten(1).numpy() for k, e in model.shared(model.encode(batch)).items()}
    for name, part in parts.items():
        assert part.true.shape == part.recovered.shape
        assert np.abs(part.true[:, None] - every[name][None]).max(2).min(1).max() < 1e-5
        assert np.abs(part.true - part.recovered).max(1).min() > 1e-3


def test_the_weight_is_restored_after_an_error() -> None:
    model = small_model("fast")
    before = model.branch_weight.clone()

    def fail() -> None:
        with fixed_recovery_weight(model, 1.0):
            assert bool((model.branch_weight == 1).all())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert torch.equal(model.branch_weight, before)


def test_a_run_with_and_without_a_corpus(
    run: Path, benchmark: Path, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--rates", "0,0.5", "--draws", 2, "--resamples", 20, "--out", tmp_path / "r.html"]
    assert imder_("report", run, place / "corpus", *few) == 0
    page = assert_self_contained((tmp_path / "r.html").read_text())
    assert all(
        word in page.text for word in ("difference from constant", "Phases of training", "validation loss", "torch")
    )
    assert imder_("report", run, *few) == 0
    assert "results need a corpus" in (tmp_path / "r.html").read_text()
    assert imder_("report", benchmark, place / "corpus", *few) == 2
    assert imder_("report", tmp_path / "none", place / "corpus", *few) == 2
    assert capsys.readouterr().err.count("imder: error") == 2
