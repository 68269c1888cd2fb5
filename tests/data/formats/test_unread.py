"""Fields that look like labels or features but aren't read, and corpora of one modality in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from command_line import imder_
from corpus_files import fields, save, without
from imder.data.formats.labels import require_labels
from imder.data.formats.load import load_corpus
from imder.training.prepare import check_corpus
from imder.types import ImderError

QUESTION = "did you mean regression_labels or classification_labels?"


def test_unread_fields_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = without(fields(), "regression_labels") | {
        "emotion": np.arange(4),
        "gaze": np.ones((4, 2), int),
        "pulse_lengths": np.ones(4, int),
        "note": np.array(list("abcd")),
    }
    path = save(tmp_path / "train.npz", given)
    remarks = (
        f"field 'emotion' is not read; {QUESTION}",
        "field 'gaze' is not read: features are floats (N, T, D) or (N, D), it is int64 of shape (4, 2)",
        "field 'pulse_lengths' is not read: it belongs to no modality",
    )
    split = load_corpus(path)["train"]
    assert split.unread == remarks
    with pytest.raises(ImderError, match=r"no labels for this task .*; field 'emotion' is not read; did you mean"):
        require_labels(split, "here")
    save(tmp_path / "valid.npz", given)
    with pytest.raises(ImderError, match=r"split 'train' has no labels.*field 'emotion' is not read; did you mean"):
        check_corpus(load_corpus(tmp_path))
    assert imder_("data", "inspect", path) == 0
    assert "field 'emotion' is not read" in " ".join(capsys.readouterr().out.split())


def test_further_labels_are_named_without_a_question(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pkl", fields(regression_labels_T=np.ones(4)))
    assert load_corpus(path)["all"].unread == ("field 'regression_labels_T' is not read",)
    assert load_corpus(save(tmp_path / "b.pkl", fields()))["all"].unread == ()


def test_names_in_place_of_numbers(tmp_path: Path) -> None:
    given = without(fields(), "regression_labels") | {"classification_labels": np.array(["sad"] * 4)}
    with pytest.raises(ImderError, match="sample 'train0': 'sad' is not a number; class names go to label_names or"):
        load_corpus(save(tmp_path / "a.npz", given))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([-1, 0, 1, 1], "1 of 4 samples count as unlabelled, because the class -1 means unknown"),
        ([1, 2, 3, 1], "no sample has the class 0 of classes 0 to 3"),
    ],
)
def test_class_numbers_that_may_be_misread(labels, message, tmp_path: Path, caplog) -> None:
    given = without(fields(), "regression_labels") | {"classification_labels": np.array(labels)}
    path = save(tmp_path / "a.npz", given)
    corpus = load_corpus(path)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"{path}: {message}")
    assert "regression_labels" in caplog.messages[0]
    load_corpus(path, spec=corpus.spec)  # to predict with a model, whose classes are known
    assert len(caplog.messages) == 1


def test_a_file_of_one_modality(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "audio.npz", without(fields(), "text"))
    assert load_corpus(path).spec.names == ("audio",)
    assert imder_("data", "inspect", path) == 0
    assert "audio" in capsys.readouterr().out
    assert imder_("data", "convert", path, tmp_path / "store") == 0
    assert load_corpus(tmp_path / "store")["all"].present.all()
    assert imder_("train", path, "--out", tmp_path / "run") == 2
    assert "audio.npz: training needs at least two modalities, found only audio" in " ".join(
        capsys.readouterr().err.split()
    )
