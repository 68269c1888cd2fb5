"""Every system is calibrated at the end of training, on validation rows of every subset, and the tools use it."""

from __future__ import annotations

import copy
import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from imder import metrics
from imder.calibration.calibration import Calibration
from imder.cli import main
from imder.data.corpus import Corpus, Ragged, spec_of
from imder.data.loader import collate
from imder.data.store import write_store
from imder.evaluation.constant import constant_rows
from imder.evaluation.evaluate import evaluate, evaluator
from imder.evaluation.protocol import EvaluationProtocol
from imder.evaluation.uncertainty_metrics import names_of
from imder.media.predictor import Predictor
from imder.missingness.patterns import pattern_name, patterns
from imder.models.base import Model
from imder.models.registry import SYSTEMS
from imder.synthetic.known_truth import KnownTruth
from imder.training.calibrate import calibrate
from imder.training.config import TrainingConfig, load_config
from imder.training.train import train
from imder.training.validation import SEED
from imder.types import ImderError
from tiny_models import Summing, tiny_corpus

LENGTHS = {"language": (1, 3), "vision": (1, 3), "audio": (1, 2)}
QUICK = {"max_epochs": 2, "batch_size": 64}
SMALL = {
    "imder": {
        "model.encoder": {"width": 4, "steps": 3},
        "model.recovery": {
            "evaluations": 2,
            "network": {"widths": [8], "heads": 2, "embedding": 8, "condition_width": 8, "tokens": 2},
        },
        "model.refinement": {"channels": 8, "blocks": 1, "reduction": 4},
        "model.fusion.hidden": 8,
        "model.num_samples": 3,
        "model.members": 1,
        "model.context.direction": "none",
        "training": {"stage1": QUICK, "score": QUICK | {"validate_every": 1}, "recovery": QUICK},
    },
    "zero-fill": {"training": {"stage1": QUICK}},
    "mmin": {
        "model": {"encoder": {"width": 6}, "cascade": {"layers": [12, 6], "blocks": 2}, "head": [6]},
        "training": {"stage1": QUICK, "joint": QUICK},
    },
    "gcnet": {"model": {"hidden": 4}, "training": {"stage1": {"max_epochs": 2, "batch_size": 16}}},
    "lnln": {
        "model": {"width": 4, "tokens": 2, "heads": 1, "head_width": 4, "depth": 1, "fusion_depth": 1},
        "training": {"stage1": QUICK},
    },
    "emt-dlfr": {
        "model": {"encoder": {"hidden": 4, "width": 4}, "fusion": {"width": 8, "heads": 2, "layers": 1}, "head": 8},
        "training": {"stage1": QUICK},
    },
}
PRESETS = {"imder": "fast"}


def train_small(system: str, corpus: Corpus, out: Path) -> Model:
    # A system that isn't named above trains with its own sizes for two epochs.
    overrides = SMALL.get(system, {"training": {"stage1": QUICK}})
    return train(corpus, out, config=load_config(PRESETS.get(system, system), overrides=overrides))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return KnownTruth.standard(lengths=LENGTHS).corpus(200, 160, 120)


@pytest.fixture(scope="module")
def classes() -> Corpus:
    return KnownTruth.standard(lengths=LENGTHS).corpus(200, 160, 120, task="classification")


@pytest.fixture(scope="module")
def run(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    out = tmp_path_factory.mktemp("calibrated") / "imder"
    return train_small("imder", corpus, out), out


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_is_calibrated(system: str, classes: Corpus, corpus: Corpus, tmp_path: Path) -> None:
    corpus = classes if system == "zero-fill" else corpus
    model = train_small(system, corpus, tmp_path)
    made = model.calibration
    assert made is not None
    assert set(made.sample_counts) == {pattern_name(p, corpus.spec.names) for p in patterns(3)}
    assert made.recoveries == (model.num_samples(None) if system == "imder" else getattr(model.config, "members", 1))
    assert all(count == 160 or (model.uses_context and 60 < count < 160) for count in made.sample_counts.values())
    assert Model.from_pretrained(tmp_path).calibration == made
    rows = evaluate(model, corpus, protocol="fixed")
    names = names_of(corpus.spec.task)
    assert all(math.isfinite(row[name]) for row in rows for name in names)
    # 160 calibration and 120 test rows, trained for two epochs: right on average, whatever the system
    assert np.mean([row["coverage"] for row in rows]) == pytest.approx(0.9, abs=0.08)
    plain = metrics.names_of("classification" if corpus.spec.task == "classification" else "mosi")
    model.calibration = None
    uncalibrated = evaluate(model, corpus, protocol="fixed")
    for name in plain:  # a constant prediction has no correlation: nan equals nan
        assert_array_equal([r[name] for r in rows], [r[name] for r in uncalibrated])


def test_calibration_rows_are_predicted_as_predictions_are(run: tuple[Model, Path], corpus: Corpus) -> None:
    """By hand for one subset: the same spread, so the same scores."""
    model, _ = run
    assert model.calibration is not None
    split = corpus["valid"]
    mask = np.tile((True, False, True), (len(split), 1))
    batch = collate(replace(split, labels=None), np.arange(len(split)), mask, visible=mask)
    spread = model.predict(batch, seed=SEED).spread.numpy().T
    group = model.calibration.group((True, False, True))
    residuals = np.quantile(split.labels - spread.mean(1), [0.5 / 65, 0.5])
    assert group.predictive.residuals[0] == pytest.approx(residuals[0], abs=1e-4)
    assert group.predictive.residuals[32] == pytest.approx(residuals[1], abs=1e-4)
    assert group.scores.samples == 160


def test_rates_and_protocols_agree_on_what_is_certain(run: tuple[Model, Path], corpus: Corpus) -> None:
    model, _ = run
    several = evaluator(model, corpus)
    for protocol in ("natural", "random", "fixed"):
        rows = several(EvaluationProtocol(protocol, rates=(0, 0.5), draws=2))
        again = evaluate(model, corpus, protocol=protocol, rates=(0, 0.5), draws=2)
        for a, b in zip(rows, again, strict=True):
            assert all(a[k] == b[k] or a[k] == pytest.approx(b[k], abs=1e-5) for k in a)
    assert all(row["selective_mae"] > 0 and 0 < row["crps"] < row["mae"] + 1 for row in rows)


def test_another_number_of_recoveries_is_warned_of(
    run: tuple[Model, Path], corpus: Corpus, caplog: pytest.LogCaptureFixture
) -> None:
    model = copy.deepcopy(run[0])
    model.branch_weight.fill_(0.5)  # recoveries enter predictions
    model.calibration = calibrate(model, corpus, TrainingConfig())
    assert model.calibration is not None
    assert model.calibration.recoveries == 3
    Predictor(model).predict(corpus, samples=2)
    assert [r.levelname for r in caplog.records if "calibrated on spreads of 3 predictions" in r.message] == ["WARNING"]


def test_strict_runs_calibrate_on_what_they_may_see(run: tuple[Model, Path], corpus: Corpus) -> None:
    made = calibrate(run[0], corpus, TrainingConfig(missing_rate=0.6, permanently_missing=True))
    assert made is not None
    assert made.sample_counts["language+vision+audio"] < 40 < made.sample_counts["audio"] < 160
    assert made.notes()


def test_how_many_samples(run: tuple[Model, Path], corpus: Corpus) -> None:
    model = run[0]
    made = calibrate(model, corpus, TrainingConfig(calibration_samples=110))
    assert made is not None
    assert set(made.sample_counts.values()) == {110}
    assert calibrate(model, corpus, TrainingConfig(calibration_samples=0)) is None
    with pytest.raises(ImderError, match="calibration_samples: expected a whole number"):
        TrainingConfig(calibration_samples=-1)


def test_many_modalities_are_calibrated_on_random_subsets() -> None:
    rng = np.random.default_rng(0)
    base = KnownTruth.standard(lengths=LENGTHS).sample(120, 0)
    features = {f"m{i}": Ragged.from_list(list(rng.standard_normal((120, 2, i + 1))), i + 1) for i in range(6)}
    split = replace(base, features=features)
    corpus = Corpus("six", spec_of({"a": split}, "regression"), {"train": split, "valid": split})
    made = calibrate(Summing(corpus.spec).eval(), corpus, TrainingConfig())
    assert made is not None
    assert 40 < len(made.sample_counts) <= 63
    assert made.subsets == {}
    assert set(made.sizes) >= {2, 3, 4}
    assert made.group([True] + [False] * 5) in (made.sizes.get(1), made.all_rows)
    assert len(made.notes()) <= 6  # a line for each pool, not for each subset
    assert all(
        len(made.notes(name)) == 1 and made.notes(name)[0].startswith(f"{name}: ") for name in made.sample_counts
    )


def test_unlabelled_validation_samples_are_left_out(run: tuple[Model, Path], corpus: Corpus) -> None:
    labels = corpus["valid"].labels.copy()
    labels[:20] = np.nan
    splits = dict(corpus.splits) | {"valid": replace(corpus["valid"], labels=labels)}
    made = calibrate(run[0], replace(corpus, splits=splits), TrainingConfig())
    assert made is not None
    assert set(made.sample_counts.values()) == {140}


# Files and commands.


def test_a_model_without_calibration_works_and_says_so(
    run: tuple[Model, Path], corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = run
    again = Model.from_pretrained(out)
    again.save_pretrained(tmp_path / "m")
    assert Calibration.load(tmp_path / "m" / "calibration.json") == model.calibration
    again.calibration = None
    again.save_pretrained(tmp_path / "m")
    assert not (tmp_path / "m" / "calibration.json").exists()
    write_store(corpus, tmp_path / "store")
    words = [str(tmp_path / "m"), str(tmp_path / "store")]
    assert main(["evaluate", *words, "--protocol", "natural"]) == 0
    assert "no calibration was saved" in capsys.readouterr().out
    assert main(["predict", *words, "--out", str(tmp_path / "p.csv")]) == 0
    assert "no calibration was saved" in capsys.readouterr().out
    with open(tmp_path / "p.csv") as file:
        assert "low" not in next(csv.DictReader(file))
    made = json.loads((out / "calibration.json").read_text())
    made["spec"]["modalities"][0]["dim"] = 7
    (tmp_path / "m" / "calibration.json").write_text(json.dumps(made))
    assert main(["evaluate", *words]) == 2
    assert "another corpus" in capsys.readouterr().err


def test_commands(run: tuple[Model, Path], corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = run
    write_store(corpus, tmp_path / "store")
    words = [str(out), str(tmp_path / "store")]
    assert main(["evaluate", *words, "--protocol", "fixed", "--out", str(tmp_path / "r.csv")]) == 0
    shown = capsys.readouterr().out
    assert "cover 90 % of the labels" in shown
    assert all(word in shown for word in ("Coverage", "CRPS", "constant"))
    assert "calibration samples" not in shown
    widths = {}
    for level in ("0.5", "0.9"):
        file = tmp_path / f"{level}.csv"
        assert main(["predict", *words, "--samples", "3", "--level", level, "--out", str(file)]) == 0
        assert f"cover {float(level):.0%}".replace("%", " %") in capsys.readouterr().out
        with file.open() as opened:
            rows = list(csv.DictReader(opened))
        low, high = (np.array([float(row[key]) for row in rows]) for key in ("low", "high"))
        widths[level] = (high - low).mean()
        within = (low <= corpus["test"].labels) & (corpus["test"].labels <= high)
        assert within.mean() == pytest.approx(float(level), abs=0.13)
    assert widths["0.5"] < widths["0.9"]
    python = Predictor(model).predict(corpus, samples=3)
    assert [row["low"] for row in python] == [float(row["low"]) for row in rows]
    assert main(["predict", *words, "--level", "90", "--out", str(tmp_path / "p.csv")]) == 2
    assert "between 0 and 1" in capsys.readouterr().err


def test_prediction_sets(classes: Corpus, tmp_path: Path) -> None:
    model = train_small("zero-fill", classes, tmp_path)
    found = Predictor(model).predict(classes)
    sets = [row["set"].split("|") for row in found]
    assert all(set(s) <= set(classes.spec.classes) for s in sets)
    truth = [classes.spec.classes[i] for i in classes["test"].labels]
    assert np.mean([t in s for t, s in zip(truth, sets, strict=True)]) == pytest.approx(0.9, abs=0.09)
    wide = Predictor(model).predict(classes, level=0.99)
    assert sum(len(row["set"]) for row in wide) > sum(len(row["set"]) for row in found)


# The constant baseline.


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_the_constant_is_calibrated_on_validation_labels(task: str, corpus: Corpus, classes: Corpus) -> None:
    data = corpus if task == "regression" else classes
    rows = constant_rows(data, EvaluationProtocol("fixed"), calibrated=True)
    assert len({row["coverage"] for row in rows}) == 1
    assert rows[0]["coverage"] >= 0.82
    assert ("crps" if task == "regression" else "nll_calibrated") in rows[0]
    alone = Corpus("alone", data.spec, {"train": data["train"], "test": data["test"]})
    assert "coverage" not in constant_rows(alone, EvaluationProtocol("fixed"), calibrated=True)[0]
    assert "coverage" not in constant_rows(data, EvaluationProtocol("fixed"))[0]


def test_cells_that_serve_nobody_are_nan(run: tuple[Model, Path], corpus: Corpus) -> None:
    tiny = tiny_corpus(test=4)
    assert tiny.spec.names == corpus.spec.names
    test = corpus["test"]
    gone = dict(test.features) | {"audio": Ragged.from_list([np.zeros((0, 10), np.float32)] * len(test), 10)}
    data = Corpus("gone", corpus.spec, {"test": replace(test, features=gone)})
    rows = {row["available"]: row for row in evaluate(run[0], data, protocol="fixed")}
    assert math.isnan(rows["audio"]["coverage"])
    assert rows["language"]["coverage"] > 0.8
