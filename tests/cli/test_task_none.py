"""``imder train --task none``, then ``imder impute``: recordings that nobody has labelled."""

import numpy as np
import pytest

import imder
from command_line import imder_
from imder.data.store import write_store

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
