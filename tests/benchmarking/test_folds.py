"""Rotations over speakers or dialogues."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark_setup import TINY, benchmark, read_comparisons
from imder.benchmarking.bootstrap import cluster_weights
from imder.benchmarking.folder import BenchmarkFolder
from imder.benchmarking.folds import fold_of, rotation_groups
from imder.benchmarking.resampled import clustered_tests
from imder.data.corpus import Corpus
from imder.data.formats.load import load_corpus
from imder.data.store import write_store
from imder.evaluation.results import averages, read_csv, summarise
from imder.types import ImderError


@pytest.fixture(scope="session")
def dialogues(place: Path) -> Corpus:
    """Six dialogues in train, three in valid and four in test; most clips have a speaker, some have none."""
    corpus = load_corpus(place / "corpus")
    splits = {
        name: replace(
            split,
            dialogue=tuple(f"{name}{i % n}" for i in range(len(split))),
            position=np.array([i // n for i in range(len(split))]),
            speaker=tuple("" if i == 3 else f"p{i % 5}" for i in range(len(split))),
        )
        for (name, split), n in zip(corpus.splits.items(), (6, 3, 4), strict=True)
    }
    write_store(replace(corpus, splits=splits), place / "dialogues")
    return load_corpus(place / "dialogues")


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


def test_folds_test_every_dialogue_once(dialogues: Corpus) -> None:
    assert rotation_groups(dialogues) == "dialogues"
    parts = [fold_of(dialogues, f, 4) for f in range(4)]
    tested = [sample for part in parts for sample in part["test"]]
    clips = {sample.id: sample for split in dialogues.splits.values() for sample in split}
    assert sorted(sample.id for sample in tested) == sorted(clips)
    for sample in tested:
        original = clips[sample.id]
        assert (sample.dialogue, sample.position, sample.label) == (
            original.dialogue,
            original.position,
            original.label,
        )
        assert np.array_equal(sample.features["audio"], original.features["audio"])
    for i, part in enumerate(parts):
        names = {split: set(part[split].dialogue or ()) for split in ("train", "valid", "test")}
        assert sum(map(len, names.values())) == len(set.union(*names.values())) == 13
        assert names["valid"] == set(parts[(i + 1) % 4]["test"].dialogue or ())
        assert {len(names["test"]), len(names["valid"])} <= {3, 4}


@pytest.fixture(scope="session")
def conversations(dialogues: Corpus, place: Path) -> Corpus:
    """The same dialogues, each between several of five speakers, who connect all of them."""
    splits = {
        name: replace(split, speaker=tuple(f"p{i % 5}" for i in range(len(split))))
        for name, split in dialogues.splits.items()
    }
    write_store(replace(dialogues, splits=splits), place / "conversations")
    return load_corpus(place / "conversations")


def test_dialogues_of_several_speakers_are_not_torn(conversations: Corpus, dialogues: Corpus) -> None:
    assert rotation_groups(conversations) == "dialogues"
    for fold in range(4):
        ours, theirs = fold_of(conversations, fold, 4), fold_of(dialogues, fold, 4)
        assert {name: split.ids for name, split in ours.splits.items()} == {
            name: split.ids for name, split in theirs.splits.items()
        }
    of_one = {
        name: replace(split, speaker=tuple(f"of {d}" for d in split.dialogue or ()))
        for name, split in conversations.splits.items()
    }
    assert rotation_groups(replace(conversations, splits=of_one)) == "speakers"


def test_a_report_says_why_it_rotates_over_dialogues(conversations: Corpus, place: Path, tmp_path: Path) -> None:
    words = [*TINY, "--models", "zero-fill,{narrow}", "--seeds", 1, "--protocols", "natural", "--folds", 3]
    assert benchmark(place, tmp_path / "out", *words, corpus="conversations") == 0
    text = " ".join((tmp_path / "out" / "tables.md").read_text().split())
    assert "Rotation over dialogues in 3 folds, since some have several speakers" in text
    assert "20 resamples of 13 dialogues" in text


def test_several_speakers_and_no_dialogue_are_refused(conversations: Corpus) -> None:
    split = replace(conversations["test"], dialogue=("", *(conversations["test"].dialogue or ())[1:]))
    with pytest.raises(ImderError, match=r"\[test\] have no dialogue .*, and dialogues have several speakers"):
        fold_of(replace(conversations, splits={**conversations.splits, "test": split}), 0, 4)


def test_rotation_over_dialogues_resamples_dialogues(dialogues: Corpus, place: Path, tmp_path: Path) -> None:
    """Intervals and counts are over the 13 dialogues, though most clips have speakers, and the report says so."""
    out = tmp_path / "out"
    words = [*TINY, "--models", "zero-fill,{narrow}", "--seeds", 1, "--protocols", "natural", "--folds", 4]
    assert benchmark(place, out, *words, corpus="dialogues") == 0
    text = " ".join((out / "tables.md").read_text().split())
    assert "Rotation over dialogues in 4 folds" in text
    assert "20 resamples of 13 dialogues, the test samples of all rotations together" in text
    names = {name for split in dialogues.splits.values() for name in split.dialogue or ()}
    assert {row["cluster"] for row in read_comparisons(out / "dialogues.csv")} == names
    tests = clustered_tests(dialogues, BenchmarkFolder(out).plan())
    weights = cluster_weights(tests.clusters[0], 20, 0)
    of_row = np.array([name for split in tests.splits.values() for name in split.dialogue or ()])
    assert all((weights[:, of_row == name].std(axis=1) == 0).all() for name in names)


def test_rotation_needs_named_groups(dialogues: Corpus) -> None:
    def changed(**columns: object) -> Corpus:
        splits = {
            name: replace(split, **columns) if name == "valid" else split for name, split in dialogues.splits.items()
        }
        return replace(dialogues, splits=splits)

    nameless = changed(dialogue=("", *(dialogues["valid"].dialogue or ())[1:]))
    with pytest.raises(ImderError, match=r"\[valid\] have no speaker \(field 'speaker'\) and no dialogue"):
        fold_of(nameless, 0, 4)
    with pytest.raises(ImderError, match="has 13 dialogues, fewer than 14 folds"):
        fold_of(dialogues, 0, 14)
    same_names = changed(dialogue=tuple(f"train{i % 3}" for i in range(len(dialogues["valid"]))))
    with pytest.raises(ImderError, match=r"folds \(--folds\): .* both have position 0 of dialogue 'train0'"):
        fold_of(same_names, 0, 4)
    unordered = fold_of(changed(position=None), 0, 4)
    assert unordered["test"].position is None
    assert set(unordered["test"].dialogue or ()) == set(fold_of(dialogues, 0, 4)["test"].dialogue or ())
