"""``imder train``: presets, single keys, resuming, and what it prints."""

import json
import shlex
import shutil
from dataclasses import replace

import numpy as np
import pytest

import imder
from command_line import SMALL, imder_, same, weights
from imder.data.store import write_store
from imder.training.config import load_config


def test_train(run, capsys):
    config = load_config(file=run / "config.yaml")
    assert (config.preset, config.model.encoder.width, config.model.num_samples) == ("fast", 8, 2)
    assert config.model.recovery.network.widths == (8,)
    assert config.training.score.max_epochs == 1
    preset = load_config("fast")  # what wasn't mentioned is the preset's, not the default of a dataclass
    assert config.training.score.learning_rate == preset.training.score.learning_rate
    assert config.model.recovery.noise_levels_per_sample == preset.model.recovery.noise_levels_per_sample


def test_train_says_what_it_reached(folder, tmp_path, capsys):
    assert imder_("train", folder / "corpus", "--out", tmp_path / "run", *SMALL) == 0
    out = capsys.readouterr().out
    assert all(phase in out for phase in ("stage1", "score", "recovery"))
    assert "mae" in out
    assert "saved in" in out


def test_the_configuration_of_a_run_gives_the_same_run(folder, run, tmp_path):
    assert imder_("train", folder / "corpus", "--out", tmp_path / "b", "--config", run / "config.yaml") == 0
    assert same(weights(run), weights(tmp_path / "b"))
    words = ["--config", run / "config.yaml", "--training.seed", "3"]
    assert imder_("train", folder / "corpus", "--out", tmp_path / "c", *words) == 0
    assert not same(weights(run), weights(tmp_path / "c"))


def test_resume_goes_on(folder, run, tmp_path):

    shutil.copytree(run, tmp_path / "run")
    for name in ("model.safetensors", "metrics.json", "phases/recovery.safetensors"):
        (tmp_path / "run" / name).unlink()
    assert imder_("train", folder / "corpus", "--resume", tmp_path / "run", "--engine.accelerator", "cpu") == 0
    assert same(weights(run), weights(tmp_path / "run"))
    assert imder_("train", folder / "corpus", "--resume", tmp_path / "run") == 0  # finished: nothing to do


def test_resume_refuses_a_seed_of_zero_too(folder, run, capsys):
    assert imder_("train", folder / "corpus", "--resume", run, "--seed", 0) == 2
    assert "leave out --seed" in capsys.readouterr().err


def test_a_capped_run_can_be_resumed_and_repeated(folder, tmp_path):
    words = ["--preset", "zero-fill", "--max-epochs", "1", "--model.encoder.width", "4"]
    assert imder_("train", folder / "corpus", "--out", tmp_path / "run", *words) == 0
    assert imder_("train", folder / "corpus", "--resume", tmp_path / "run") == 0
    again = ["--out", tmp_path / "again", f"--config={tmp_path / 'run' / 'config.yaml'}"]
    assert imder_("train", folder / "corpus", *again) == 0
    assert same(weights(tmp_path / "run"), weights(tmp_path / "again"))


def test_stage_1_of_another_run(folder, run, tmp_path):
    words = ["--stage1", run, "--seed", 7, *SMALL]
    assert imder_("train", folder / "corpus", "--out", tmp_path / "run", *words) == 0
    ours, theirs = weights(run), weights(tmp_path / "run")
    assert np.array_equal(ours["fusion.head.weight"], theirs["fusion.head.weight"])
    assert not same(ours, theirs)
    assert load_config(file=tmp_path / "run" / "config.yaml").training.seed == 7


@pytest.mark.parametrize(("rate", "expected"), [("0.3", 0.3), ("any", "any"), ("official", "official"), ("0", 0.0)])
def test_missing_rates(rate, expected, folder, tmp_path):
    words = ["--preset", "zero-fill", "--max-epochs", "1", "--missing-rate", rate, "--training.stage1.missing", "rate"]
    assert imder_("train", folder / "corpus", "--out", tmp_path / "run", *words) == 0
    found = load_config(file=tmp_path / "run" / "config.yaml").training.missing_rate
    assert found == expected
    assert isinstance(found, type(expected))


def test_features_of_another_recipe_are_refused(folder, tmp_path, capsys):
    """A run remembers how its features were made; without a recipe on either side nothing can be said."""
    corpus = imder.load_corpus(folder / "corpus")
    for rate in (16000, 22050):
        recipe = {"format": 1, "audio": {"rate": rate}, "versions": {}}
        write_store(replace(corpus, recipe=recipe), tmp_path / str(rate))
    words = ("train", tmp_path / "16000", "--out", tmp_path / "run", "--preset", "ridge")
    assert imder_(*words) == 0
    trained = json.loads((tmp_path / "run" / "trained_on.json").read_text())
    assert trained["recipe"]["audio"] == {"rate": 16000}
    for other in (tmp_path / "16000", folder / "corpus"):
        assert imder_("predict", tmp_path / "run", other, "--out", tmp_path / "p.csv") == 0
    capsys.readouterr()
    assert imder_("predict", tmp_path / "run", tmp_path / "22050", "--out", tmp_path / "q.csv") == 2
    assert "another recipe" in capsys.readouterr().err
    assert not (tmp_path / "q.csv").exists()


def test_train_says_what_to_type_next(folder, tmp_path, capsys):
    run = tmp_path / "a run"
    words = ("--preset", "zero-fill", "--max-epochs", 1, "--model.encoder.width", 4)
    assert imder_("train", folder / "corpus", "--out", run, *words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("on the validation split") and "mae" in line for line in lines)
    following = [shlex.split(line) for line in lines[-2:]]
    assert [words[:2] for words in following] == [["imder", "evaluate"], ["imder", "predict"]]
    assert imder_(*following[0][1:], "--rates", "0,0.5", "--draws", 1) == 0
    assert imder_(*following[1][1:-1], tmp_path / "predictions.csv") == 0


def test_an_interrupt_says_how_to_go_on(folder, tmp_path, capsys, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("lightning.Trainer.fit", interrupted)
    run = tmp_path / "run"
    assert imder_("train", folder / "corpus", "--out", run, "--preset", "zero-fill") == 130
    error = capsys.readouterr().err.splitlines()
    assert error == [f"imder: interrupted; continue with: imder train {folder / 'corpus'} --resume {run}"]
    monkeypatch.undo()
    assert imder_("train", folder / "corpus", "--resume", run) == 0


@pytest.mark.parametrize(
    ("words", "kinds"),
    [([], {"csv", "tensorboard"}), (["--logger", "csv"], {"csv"}), (["--logger", "none"], set())],
)
def test_loggers(words, kinds, folder, tmp_path):
    more = ("--preset", "zero-fill", "--max-epochs", 1, "--model.encoder.width", 4)
    assert imder_("train", folder / "corpus", "--out", tmp_path / "run", *more, *words) == 0
    logs = tmp_path / "run" / "logs" / "stage1"
    assert {path.name for path in logs.iterdir()} == kinds if kinds else not logs.exists()
