"""``imder train --task none``, then ``imder impute``: recordings that nobody has labelled."""

import numpy as np
import pytest

import imder
from command_line import imder_
from imder.data.store import write_store
from imder.training.run import RunDirectory
from small_training import CPU, Stop

SHORT = ["--max-epochs", "1", "--model.network.hidden", "16", "--engine.accelerator", "cpu", "--logger", "none"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A corpus with labels, which are not read, and a recovery model trained on it."""
    folder = tmp_path_factory.mktemp("unlabelled")
    write_store(imder.KnownTruth.standard().corpus(60, 30, 20, task="classification"), folder / "corpus")
    assert imder_("train", folder / "corpus", "--task", "none", "--out", folder / "run", *SHORT) == 0
    return folder


def test_the_preset_is_imputer_and_the_next_step_impute(folder, tmp_path, capsys):
    assert imder_("train", folder / "corpus", "--task", "none", "--out", tmp_path / "run", *SHORT) == 0
    out = capsys.readouterr().out
    assert "imder impute" in out
    assert "imder evaluate" not in out
    assert "preset: imputer" in (folder / "run" / "config.yaml").read_text()


def test_a_run_goes_on_without_the_option(folder, tmp_path, capsys):
    """The run knows that it has no task: what an interrupted training prints is enough."""
    short = {"model.network.hidden": 16, "training.imputation.max_epochs": 2}
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        imder.train(
            folder / "corpus", run, task="none", overrides=short, engine=CPU, callbacks=[Stop("imputation", 1, 0)]
        )
    assert imder_("train", folder / "corpus", "--resume", run, "--engine.accelerator", "cpu") == 0
    assert RunDirectory(run).finished()
    finished = imder.train(imder.load_corpus(folder / "corpus"), run, resume=True, engine=CPU)
    assert finished.spec.task == "none"
    assert imder_("train", folder / "corpus", "--resume", run, "--task", "classification") == 2
    assert "another corpus" in capsys.readouterr().err


def test_a_run_goes_on_with_the_labels_that_it_began_with(tmp_path):
    """A file with labels of both kinds is read as the run read it."""
    made = imder.KnownTruth.standard().corpus(60, 30, 20, task="classification")
    for name, split in made.splits.items():
        fields = {key: np.stack([r[i].mean(0) for i in range(len(split))]) for key, r in split.features.items()}
        labels = {"regression_labels": split.labels.astype(np.float32), "classification_labels": split.labels}
        (tmp_path / "corpus").mkdir(exist_ok=True)
        np.savez(tmp_path / "corpus" / f"{name}.npz", id=np.array(split.ids), **fields, **labels)
    words = ["train", tmp_path / "corpus", "--preset", "ridge"]
    assert imder_(*words, "--task", "classification", "--out", tmp_path / "run") == 0
    assert imder_("train", tmp_path / "corpus", "--resume", tmp_path / "run") == 0


def test_labels_of_the_corpus_go_along(folder, tmp_path):
    words = ["--available", "language+audio", "--draws", "2", "--out", tmp_path / "imputed"]
    assert imder_("impute", folder / "run", folder / "corpus", *words) == 0
    given, imputed = imder.load_corpus(folder / "corpus"), imder.load_corpus(tmp_path / "imputed" / "draw-01")
    np.testing.assert_array_equal(imputed["test"].labels, given["test"].labels)
    assert imputed["test"].filled["vision"].all()


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_what_needs_labels_says_so(command, folder, tmp_path, capsys):
    words = ["--out", tmp_path / "predictions.csv"] if command == "predict" else []
    assert imder_(command, folder / "run", folder / "corpus", *words) == 2
    error = capsys.readouterr().err
    assert "without labels" in error
    assert error.count("\n") == 1
