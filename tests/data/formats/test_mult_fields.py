"""The fields of MulT's files: ``labels`` (N, 1, 1), and ids of a video, a start and an end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus_files import fields, objects, one, save, without
from imder.data.corpus import Corpus
from imder.data.formats.load import load_corpus
from imder.types import ImderError

IDS = np.array([[b"v2", b"3.5", b"4"], [b"v1", b"10.25", b"12"], [b"v1", b"9.5", b"10"], [b"v2", b"0", b"3"]])
VALUES = [0.5, -1.0, 2.0, 0.0]


def plain(**more: Any) -> dict[str, Any]:
    return without(fields(), "regression_labels") | more


@pytest.mark.parametrize("name", ["labels", "label"])
@pytest.mark.parametrize(
    "given", [np.array(VALUES), np.array(VALUES).reshape(4, 1, 1), np.array(VALUES)[:, None], VALUES, objects(*VALUES)]
)
def test_labels_are_read_as_in_memory(name: str, given: Any, tmp_path: Path) -> None:
    split = one(tmp_path, plain(**{name: given}))
    assert split.labels is not None
    assert split.labels.tolist() == VALUES
    assert split.unread == ()
    corpus = Corpus.from_arrays({"all": without(fields(), "regression_labels", "id") | {name: given}})
    assert corpus.spec.task == "regression"
    assert corpus["all"].labels is not None
    assert corpus["all"].labels.tolist() == VALUES


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 1, 1)])
@pytest.mark.parametrize("field", ["regression_labels", "classification_labels"])
def test_labels_of_a_task_have_further_axes_of_length_one(field: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    split = one(tmp_path, plain(**{field: np.array([0, 1, 1, 0]).reshape(shape)}))
    assert split.labels is not None
    assert split.labels.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("given", [np.array([0, 2, 1, -1]), [0, 2, 1, None], np.array([[0], [2], [1], [-1]], np.int8)])
def test_whole_numbers_are_classes_unless_told_otherwise(given: Any, tmp_path: Path) -> None:
    path = save(tmp_path / "a.pkl", plain(labels=given))
    corpus = load_corpus(path)
    assert (corpus.spec.task, corpus.spec.classes) == ("classification", ("0", "1", "2"))
    assert corpus["all"].labels.tolist() == [0, 2, 1, -1]
    assert any(r.startswith("1 of 4 samples count as unlabelled") for r in corpus.remarks) or given[3] is None
    assert load_corpus(path, task="regression").spec.task == "regression"


def test_strings_are_classes(tmp_path: Path) -> None:
    corpus = load_corpus(save(tmp_path / "a.pkl", plain(labels=["sad", "", b"glad", "sad"])))
    assert corpus.spec.classes == ("glad", "sad")
    assert corpus["all"].labels.tolist() == [1, -1, 0, 1]
    corpus = load_corpus(
        save(tmp_path / "b.pkl", {"train": plain(labels=["sad", "glad"] * 2), "test": plain(labels=["sad"] * 4)})
    )
    assert corpus["test"].labels.tolist() == [1] * 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1, "sad", 0, 1], "labels: some are strings, others numbers"),
        ([0, -2, 1, 3], "labels: sample 'train1': the label -2 is no class.*--task regression"),
        ([{}, 1, 2, 3], "labels: sample 'train0': a number or the name of a class is needed, got dict"),
        ([1.0, 2.0], "labels: 2 rows where the features have 4"),
    ],
)
def test_labels_that_are_none(given: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ImderError, match=message):
        one(tmp_path, plain(labels=given))


@pytest.mark.parametrize("given", [np.zeros((4, 4, 2)), np.eye(4)])
def test_several_labels_for_each_sample_are_named(given: Any, tmp_path: Path) -> None:
    split = one(tmp_path, plain(labels=given))
    assert split.labels is None
    assert split.unread[0].startswith(f"field 'labels' is not read: it has the shape {given.shape} where one label for")


def test_labels_of_a_task_come_first(tmp_path: Path) -> None:
    split = one(tmp_path, fields(labels=np.arange(4)))
    assert split.labels is not None
    assert split.labels.dtype.kind == "f"
    assert split.unread == ("field 'labels' is not read",)


@pytest.mark.parametrize("ids", [IDS, IDS.astype(str), IDS.tolist(), objects(*IDS.astype(str))])
def test_ids_of_a_video_a_start_and_an_end(ids: Any, tmp_path: Path) -> None:
    split = one(tmp_path, fields(id=ids))
    assert split.ids == ("v2[3.5,4]", "v1[10.25,12]", "v1[9.5,10]", "v2[0,3]")
    assert split.dialogue == ("v2", "v1", "v1", "v2")
    assert split.position is not None
    assert np.argsort(split.position).tolist() == [2, 1, 3, 0]
    arrays = {k: v for k, v in fields(ids=ids).items() if k in ("audio", "text", "ids")}
    assert Corpus.from_arrays({"all": arrays})["all"].ids == split.ids


def test_ids_of_three_names_are_joined(tmp_path: Path) -> None:
    split = one(tmp_path, fields(id=[["Ses01", "F", str(i)] for i in "abcd"]))
    assert split.ids == ("Ses01_F_a", "Ses01_F_b", "Ses01_F_c", "Ses01_F_d")
    assert split.dialogue is None


@pytest.mark.parametrize("field", ["id", "raw_text", "speaker", "dialogue"])
def test_lone_surrogates_are_one_line(field: str, tmp_path: Path) -> None:
    values = ["a", "b\udcff", "c", "d"]
    with pytest.raises(ImderError, match=rf"{field}: row 1: 'b\\udcff' is no valid Unicode"):
        one(tmp_path, fields(**{field: values}))
    with pytest.raises(ImderError, match=r"row 1: .* is no valid Unicode"):
        Corpus.from_arrays({"all": {k: v for k, v in fields().items() if k in ("audio", "text")} | {field: values}})
