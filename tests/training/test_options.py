"""Mistakes in the arguments of `imder.train` and in training settings: one `ImderError` each, and nothing is written."""

import pytest

import imder
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import load_config
from imder.training.run import RunDirectory


@pytest.fixture(scope="module")
def corpus():
    return KnownTruth.standard().corpus(24, 16, 16, seed=0)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("stage1.learning_rate", -1.0, "learning_rate: expected a number, at least 0, got -1.0"),
        ("stage1.learning_rate", float("nan"), "learning_rate: expected a number"),
        ("stage1.learning_rate", "big", "training.stage1.learning_rate: 'big' is not a number"),
        ("stage1.weight_decay", -0.1, "weight_decay: expected a number, at least 0"),
        ("stage1.ema", 1.0, "ema: expected a number, at least 0 and below 1"),
        ("stage1.clip_norm", -1.0, "clip_norm: expected"),
        ("stage1.clip_value", float("inf"), "clip_value: expected"),
        ("stage1.warmup", -1, "warmup: expected a whole number, at least 0"),
        ("stage1.patience", -1, "patience: expected"),
        ("stage1.plateau_patience", -1, "plateau_patience: expected"),
        ("stage1.plateau_factor", 1.5, "plateau_factor: expected a number, above 0 and below 1"),
        ("stage1.max_epochs", 0, "max_epochs: expected a whole number, at least 1"),
        ("stage1.batch_size", 2.5, "batch_size: '2.5' is not a whole number"),
        ("validation_draws", 0, "training.validation_draws: expected a whole number, at least 1"),
        ("nominal_rate", 2, "nominal_rate: expected a number, at least 0 and at most 1"),
        ("missing_rate", 1.5, "missing_rate is a number in"),
        ("missing_rate", [1], "training.missing_rate: '\\[1\\]' is not a text or a number"),
        ("seed", -1, "training.seed: expected a whole number, at least 0"),
        ("stage1.missing", "some", "'some' is not known; choose from every, any"),
    ],
)
def test_a_setting_out_of_range_is_named_and_leaves_no_run(corpus, tmp_path, key, value, message):
    with pytest.raises(imder.ImderError, match=message):
        imder.train(corpus, tmp_path / "run", preset="late-fusion", overrides={f"training.{key}": value})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_epochs": "3"}, "max_epochs: expected a whole number, at least 1, got '3'"),
        ({"max_epochs": 0}, "max_epochs: expected"),
        ({"preset": 3}, "preset: expected the name"),
        ({"config": 3}, "config: expected a YAML file"),
        ({"overrides": "seed"}, "overrides: expected a mapping"),
        ({"seed": "1"}, "seed: expected a whole number"),
        ({"missing_rate": "some"}, "missing_rate is a number in"),
        ({"missing_rate": (0.1,)}, "missing_rate: expected a number or the name"),
        ({"recovery": "men"}, "recovery 'men' is not known; choose from conditional"),
        ({"recovery": "mean", "preset": "late-fusion"}, "recovery 'mean': preset 'late-fusion' recovers nothing"),
        ({"resume": "yes"}, "resume: expected True or False"),
        ({"resume": True, "seed": 1}, "leave out seed"),
        ({"engine": "gpu"}, "engine: expected an EngineConfig"),
        ({"task": "classification"}, "is a corpus for regression"),
        ({"config": load_config("late-fusion"), "seed": 1}, "seed changes a preset"),
    ],
)
def test_an_argument_of_the_wrong_kind_is_named_and_leaves_no_run(corpus, tmp_path, options, message):
    with pytest.raises(imder.ImderError, match=message):
        imder.train(corpus, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_the_options_of_the_command_are_keywords(corpus, tmp_path, capfd):
    imder.train(
        corpus, tmp_path, preset="late-fusion", seed=3, missing_rate=0.25, max_epochs=1, logger=False, progress=True
    )
    training = RunDirectory(tmp_path).open().training
    assert (training.seed, training.missing_rate, training.stage1.max_epochs) == (3, 0.25, 1)
    assert capfd.readouterr().err.startswith("stage1: epoch 1/1")


def test_training_is_silent_unless_asked(corpus, tmp_path, capfd):
    imder.train(corpus, tmp_path, preset="late-fusion", max_epochs=1, logger=False)
    assert capfd.readouterr() == ("", "")
