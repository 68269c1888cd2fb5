"""The imputer as a filler."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imder.benchmarking.fixed.compare import compare_fillers
from imder.benchmarking.fixed.experiment import _chunks
from imder.benchmarking.fixed.fillers import FILLERS
from imder.benchmarking.fixed.fillers.base import FillerLeftOut
from imder.benchmarking.fixed.fit_settings import FitSettings
from imder.data.corpus import Corpus
from imder.data.dialogues import dialogue_numbers
from imder.training.run import RunDirectory

QUICK = {"draws": (1, 3), "resamples": 20, "max_epochs": 1}


def in_dialogues(corpus: Corpus) -> Corpus:
    """Five clips in each dialogue."""
    splits = {
        name: replace(
            split,
            dialogue=tuple(f"{name}{i % 12}" for i in range(len(split))),
            position=np.arange(len(split)) // 12,
        )
        for name, split in corpus.splits.items()
    }
    return replace(corpus, splits=splits)


def fitted(name, corpus, folder):
    filler = FILLERS[name].make()
    filler.fit(corpus["train"], corpus["valid"], FitSettings(corpus.spec, folder, max_epochs=1))
    return filler


@pytest.mark.parametrize("name", ["imputer", "imputer:no-labels"])
def test_a_comparison_trains_it_once_and_takes_each_number_of_draws_by_itself(classes, tmp_path, name):
    quick = QUICK | {"fillers": ("mean", name)}
    compare_fillers(classes, tmp_path, **quick)
    (run,) = (tmp_path / "fillers").glob("imputer*")
    stamp = (run / "run" / "model.safetensors").stat().st_mtime_ns
    report = compare_fillers(classes, tmp_path, **quick | {"draws": (2,)}).report
    assert (run / "run" / "model.safetensors").stat().st_mtime_ns == stamp
    (cell,) = (tmp_path / "cells").glob("linear-imputer*.npz")
    with np.load(cell) as file:
        shapes = {key: file[key].shape for key in file.files if key.startswith("predictions")}
    assert shapes == {f"predictions{s}": (2, s, 60, 3) for s in (1, 2, 3)}
    assert [r["draws"] for r in report.rows if r["filler"] == name] == [1, 1, 2, 2, 3, 3]
    assert {d["reference"] for d in report.differences} == {name}


def test_without_labels_it_has_no_task(classes, tmp_path):
    fitted("imputer:no-labels", classes, tmp_path)
    config, (_, spec) = RunDirectory(tmp_path / "run").open(), RunDirectory(tmp_path / "run").corpus()
    assert spec.task == "none"
    assert not config.model.label


def test_without_neighbours_both_would_be_equal(classes, tmp_path):
    with pytest.raises(FillerLeftOut, match="no clip has neighbours"):
        fitted("imputer:no-context", classes, tmp_path)


def test_dialogues_may_be_filled_in_chunks(classes, tmp_path):
    corpus = in_dialogues(classes)
    filler, test = fitted("imputer", corpus, tmp_path), corpus["test"]
    available = test.present & [True, False]
    whole = list(filler.fill(test, available, 2, 0))[1]
    chunks = _chunks(test, 20)
    assert sorted(np.concatenate(chunks).tolist()) == list(range(60))
    assert len(chunks) > 1
    for rows in chunks:
        assert not set(dialogue_numbers(test)[rows]) & set(np.delete(dialogue_numbers(test), rows))
        part = list(filler.fill(test.take(rows), available[rows], 2, 0))[1]
        for i, row in enumerate(rows.tolist()):
            np.testing.assert_allclose(part.features["audio"][i], whole.features["audio"][row], atol=1e-3)


def test_neighbours_help_where_half_of_the_clips_hold_the_modality(classes, tmp_path):
    corpus = in_dialogues(classes)
    report = compare_fillers(
        corpus, tmp_path, outage="half", **QUICK | {"fillers": ("mean", "imputer", "imputer:no-context")}
    ).report
    assert {r["filler"] for r in report.rows} == {"complete", "mean", "imputer", "imputer:no-context", "ceiling"}
    assert any("their neighbours may hold it" in note for note in report.tables[0].notes)
