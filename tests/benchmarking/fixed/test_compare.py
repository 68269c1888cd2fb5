"""A comparison of fillers from end to end."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from imder import metrics
from imder.benchmarking.fixed.compare import compare_fillers
from imder.benchmarking.fixed.plan import FixedSettings, Rotation, outages
from imder.benchmarking.fixed.results import System
from imder.synthetic.known_truth import KnownTruth
from imder.types import ImderError

FEW = {"fillers": ("zero", "mean", "linear-gaussian"), "draws": (1, 3), "resamples": 30}


@pytest.fixture(scope="module")
def done(classes, tmp_path_factory):
    out = tmp_path_factory.mktemp("fixed") / "out"
    return compare_fillers(classes, out, folds=3, **FEW)


def cells(out):
    return {path: path.stat().st_mtime_ns for path in (out / "cells").iterdir()}


def row(report, **wanted):
    (found,) = [r for r in report.rows if all(r[key] == value for key, value in wanted.items())]
    return found


def test_metrics_are_those_of_the_averaged_predictions(done, classes):
    labels, predicted = [], []
    for fold in range(3):
        with np.load(done.out / "cells" / f"linear-linear-gaussian-0-fold{fold}.npz") as file:
            assert file["predictions3"].shape == (2, 3, len(file["ids"]), 3)
            predicted.append(file["predictions3"][list(file["patterns"]).index("vision")].astype(np.float64).mean(0))
            of = {i: y for split in classes.splits.values() for i, y in zip(split.ids, split.labels, strict=True)}
            labels += [of[i] for i in file["ids"].tolist()]
    expected = metrics.evaluate("classification", np.concatenate(predicted), labels)
    mine = row(done.report, filler="linear-gaussian", draws=3, available="vision")
    assert mine["missing"] == "audio"
    assert mine["n"] == 300
    for name in ("accuracy", "nll", "macro_f1"):
        assert mine[name] == pytest.approx(expected[name], abs=1e-5)


def test_complete_clips_are_best_and_the_ceiling_beats_the_mean(done):
    nll = {r["filler"]: r["nll"] for r in done.report.rows if r["available"] == "vision" and r["draws"] in (None, 3)}
    assert nll["complete"] < nll["ceiling"] < nll["mean"]
    assert nll["linear-gaussian"] < nll["mean"]


def test_tables_and_files_hold_every_system_and_say_which_clips(done):
    labels = [line[0][0] for line in done.report.tables[0].rows]
    assert labels == ["complete", "zero", "mean", "linear-gaussian, 1 draw", "linear-gaussian, 3 draws", "ceiling"]
    text = (done.out / "tables.md").read_text()
    assert "Tested on the 300 labelled test clips that hold all of vision, audio" in text
    assert "difference from linear-gaussian, 3 draws" in text
    assert "\\begin{tabular}" in (done.out / "tables.tex").read_text()
    with (done.out / "significance.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {r["reference"] for r in rows} == {"linear-gaussian"}
    zero = next(r for r in rows if (r["filler"], r["metric"], r["available"]) == ("zero", "nll", "vision"))
    assert float(zero["low"]) <= float(zero["difference"]) <= float(zero["high"])


def test_one_more_filler_costs_only_itself(done, classes):
    before = cells(done.out)
    report = compare_fillers(classes, done.out, folds=3, **FEW | {"fillers": ("least-squares",)}).report
    after = cells(done.out)
    assert {path for path in after if after[path] != before.get(path)} == {
        done.out / "cells" / f"linear-least-squares-0-fold{fold}.{end}" for fold in range(3) for end in ("npz", "json")
    }
    assert {r["filler"] for r in report.rows} == {
        "complete", "zero", "mean", "linear-gaussian", "least-squares", "ceiling",
    }  # fmt: skip
    assert cells(compare_fillers(classes, done.out, folds=3, **FEW).out) == after


def test_more_draws_make_only_what_draws_again(classes, tmp_path):
    first = compare_fillers(classes, tmp_path, **FEW)
    before = cells(tmp_path)
    more = compare_fillers(classes, tmp_path, **FEW | {"draws": (5,)}).report
    changed = {path.name for path, stamp in cells(tmp_path).items() if stamp != before[path]}
    assert changed == {"linear-linear-gaussian-0.npz", "linear-linear-gaussian-0.json"}
    old, new = (row(report, filler="linear-gaussian", draws=3, available="audio") for report in (first.report, more))
    assert new["nll"] == pytest.approx(old["nll"], abs=1e-6)


def test_other_settings_need_another_folder(done, classes, values):
    with pytest.raises(ImderError, match=r"was started with label_share 1.0, not 0.5; choose another out"):
        compare_fillers(classes, done.out, folds=3, label_share=0.5, **FEW)
    with pytest.raises(ImderError, match="was started on another corpus"):
        compare_fillers(values, done.out, folds=3, **FEW)


def test_regression_has_crps_and_draws_have_the_lower_one(values, tmp_path):
    report = compare_fillers(values, tmp_path, **FEW).report
    crps = {r["filler"]: r["crps"] for r in report.rows if r["available"] == "vision" and r["draws"] in (None, 3)}
    assert crps["complete"] < crps["linear-gaussian"] < crps["mean"]
    assert all(0 < r["crps"] < r["mae"] for r in report.rows)
    assert [head.split("\n")[1] for head in report.tables[0].headers[1:4]] == ["MAE", "Corr", "CRPS"]


def test_a_quarter_of_the_labels_leaves_the_fillers_all_clips(classes, tmp_path):
    compare_fillers(classes, tmp_path, label_share=0.25, **FEW)
    about = json.loads((tmp_path / "cells" / "linear-complete-0.json").read_text())
    assert (about["train"], about["valid"], about["train_clips"]) == (45, 15, 180)
    assert "Labels of train and valid used: 25 %." in (tmp_path / "tables.md").read_text()


def test_only_complete_clips_are_scored(classes, tmp_path):
    test = classes["test"]
    audio = test.features["audio"]
    lacking = [audio[i][:0] if i < 20 else audio[i] for i in range(len(test))]
    features = dict(test.features) | {"audio": type(audio).from_list(lacking, 5)}
    part = replace(classes, splits=dict(classes.splits) | {"test": replace(test, features=features)})
    report = compare_fillers(part, tmp_path, **FEW).report
    assert {r["n"] for r in report.rows} == {40}


def test_a_model_that_is_not_reproducible_is_refused(classes, tmp_path):
    path = tmp_path / "shaky.py"
    path.write_text(
        "import numpy as np, time\n"
        "def fit(train, valid):\n"
        "    p = np.random.default_rng(time.time_ns()).dirichlet(np.ones(3))\n"
        "    return lambda split: np.tile(p, (len(split), 1))\n"
    )
    compare_fillers(classes, tmp_path / "out", models=[str(path)], **FEW | {"fillers": ("zero",)})
    with pytest.raises(ImderError, match="fit gives another model than before"):
        compare_fillers(classes, tmp_path / "out", models=[str(path)], **FEW)


def test_a_model_that_cannot_do_subsets_has_no_ceiling_but_a_note(classes, tmp_path):
    path = tmp_path / "whole.py"
    path.write_text(
        "import numpy as np\n"
        "def fit(train, valid):\n"
        "    train.features['audio'], train.features['vision']\n"
        "    return lambda split: np.full((len(split), 3), 1 / 3)\n"
    )
    report = compare_fillers(classes, tmp_path / "out", models=[str(path)], **FEW).report
    assert {r["filler"] for r in report.rows} == {"complete", "zero", "mean", "linear-gaussian"}
    assert any("whole-ceiling-0" in note and "KeyError" in note for note in report.tables[0].notes)


def test_refit_trains_on_validation_too_and_validates_on_half_of_its_speakers(classes):
    plain, refit = (
        FixedSettings("small", "", "classification", folds=3, refit=refit).corpus_of(classes, Rotation(0, 1))
        for refit in (False, True)
    )
    assert set(refit["train"].ids) == {*plain["train"].ids, *plain["valid"].ids}
    assert set(refit["valid"].speaker) < set(plain["valid"].speaker)
    assert len(set(refit["valid"].speaker)) == len(set(plain["valid"].speaker)) / 2
    assert refit["test"].ids == plain["test"].ids


def test_each_clip_is_dropped_once_while_half_of_its_neighbours_are_complete():
    present = np.ones((9, 2), dtype=bool)
    parts = outages(present, (True, False), "half", seed=0)
    assert sum(dropped.astype(int) for _, dropped in parts).tolist() == [1] * 9
    for mask, dropped in parts:
        assert (mask[dropped] == [True, False]).all()
        assert mask[~dropped].all()


def test_a_part_of_the_modalities(tmp_path):
    truth = KnownTruth.standard(lengths={"language": (2, 3), "vision": (2, 3), "audio": (2, 2)})
    corpus = truth.corpus(60, 30, 40, task="classification")
    report = compare_fillers(corpus, tmp_path, modalities=("language", "audio"), **FEW).report
    assert {r["missing"] for r in report.rows} == {"language", "audio"}
    with pytest.raises(ImderError, match="has no 'smell'"):
        compare_fillers(corpus, tmp_path / "none", modalities=("language", "smell"), **FEW)


def test_options_are_checked(classes, tmp_path):
    for options, message in (
        ({"fillers": ("magic",)}, "there is no 'magic'"),
        ({"draws": (0,)}, "at least one seed and one draw"),
        ({"label_share": 0.0}, "a share above 0"),
        ({"folds": 2}, "at least 3"),
        ({"reference": "magic"}, "there is no filler 'magic'"),
        ({"reference": "neighbours", "fillers": ("mean",)}, "'neighbours' isn't among the fillers mean; add it"),
    ):
        with pytest.raises(ImderError, match=message):
            compare_fillers(classes, tmp_path / "none", **FEW | options)
    assert not (tmp_path / "none").exists()


def test_names_of_systems():
    assert System("imputer", 1).label == "imputer, 1 draw"
    assert System("mean").label == "mean"


@pytest.mark.parametrize("outage", ["dialogue", "half"])
def test_a_system_that_is_trained_for_missing_modalities_is_a_line(values, tmp_path, outage):
    options = FEW | {"systems": ("zero-fill",), "max_epochs": 2, "outage": outage}
    report = compare_fillers(values, tmp_path, **options).report
    assert [line[0][0] for line in report.tables[0].rows][-2:] == ["ceiling", "zero-fill"]
    assert report.tables[0].rows[-1][1][0] != "–"
    assert all(r["crps"] < r["mae"] for r in report.rows if r["filler"] == "zero-fill")
    before = cells(tmp_path)
    compare_fillers(values, tmp_path, **options)
    assert cells(tmp_path) == before
