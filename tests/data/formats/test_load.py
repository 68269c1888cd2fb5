"""Reading feature files: layouts, names and labels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from corpus_files import Fields, fields, objects, one, save, without
from imder.data.corpus import Corpus
from imder.data.formats.labels import require_labels
from imder.data.formats.load import load_corpus
from imder.data.store import write_store
from imder.types import ImderError, Modality, Spec

DATA = os.environ.get("IMDER_DATA")


# --- layouts


def mmsa(n: int, start: int = 0) -> Fields:
    """A split in the layout of aligned_50.pkl."""
    rng = np.random.default_rng(n)
    audio = rng.normal(size=(n, 5, 3))
    audio[0, 1, 2] = -np.inf
    bert = np.zeros((n, 3, 6))
    bert[:, 1, :4] = 1
    return {
        "raw_text": np.array([f"text {i}" for i in range(n)], object),
        "audio": audio,
        "vision": rng.normal(size=(n, 5, 2)),
        "id": [f"video{(start + i) // 2}$_${i}" for i in range(n)],
        "text": rng.normal(size=(n, 6, 4)).astype(np.float32),
        "text_bert": bert,
        "audio_lengths": [5] * n,
        "vision_lengths": [3] * n,
        "annotations": ["Negative", "Positive"] * (n // 2),
        "classification_labels": np.array([0.0, 2.0] * (n // 2)),
        "regression_labels": np.linspace(-1, 1, n),
        "regression_labels_T": np.zeros(n),
        "classification_labels_V": np.zeros(n),
    }


def test_reads_the_field_s_pickles(tmp_path: Path) -> None:
    parts = {"valid": mmsa(4, 10), "train": mmsa(6), "test": mmsa(2, 20)}
    corpus = load_corpus(save(tmp_path / "aligned_50.pkl", parts))
    assert corpus.name == "aligned_50.pkl"
    assert list(corpus.splits) == ["train", "valid", "test"]
    assert corpus.spec == Spec((Modality("language", 4, 4), Modality("vision", 2, 3), Modality("audio", 3, 5)))
    train = corpus["train"]
    assert train.texts is not None
    assert train.texts[1] == "text 1"
    assert train.dialogue == ("video0", "video0", "video1", "video1", "video2", "video2")
    assert train.position is not None
    assert train.position.tolist() == [0, 1, 2, 3, 4, 5]
    assert train.nonfinite == {"language": 0, "vision": 0, "audio": 1}
    assert train.features["audio"][0][1, 2] == 0
    assert {r.values.dtype for r in train.features.values()} == {np.dtype(np.float32)}
    assert_array_equal(train.features["language"][2], parts["train"]["text"][2, :4])
    assert_array_equal(train.features["vision"][3], parts["train"]["vision"][3, :3].astype(np.float32))
    assert train.labels is not None
    assert train.labels.dtype == np.float32
    with pytest.raises(ImderError, match="no split 'all'"):
        corpus["all"]


def test_the_task_decides_between_labels(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pkl", {"train": mmsa(4), "test": mmsa(2)})
    corpus = load_corpus(path, task="classification")
    assert corpus.spec.classes == ("Negative", "1", "Positive")
    labels = corpus["train"].labels
    assert labels is not None
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 2, 0, 2]


def test_a_folder_of_npz_and_single_files(tmp_path: Path) -> None:
    train, test = fields(6), fields(3, "test")
    folder = tmp_path / "corpus"
    save(folder / "train.npz", train)
    path = save(folder / "test.npz", test)
    corpus = load_corpus(folder)
    assert {k: len(s) for k, s in corpus.splits.items()} == {"train": 6, "test": 3}
    assert list(load_corpus(path).splits) == ["test"]
    assert list(load_corpus(save(tmp_path / "mine.npz", test)).splits) == ["all"]
    single = load_corpus(save(tmp_path / "mine.pkl", test))
    assert list(single.splits) == ["all"]
    assert_array_equal(single["all"].features["audio"].values, corpus["test"].features["audio"].values)


@pytest.mark.parametrize("make", [list, tuple, lambda x: objects(*x), lambda x: x.tolist(), lambda x: x.astype(object)])
def test_lists_and_object_arrays_are_read_as_arrays(tmp_path: Path, make: Any) -> None:
    data = fields()
    want = one(tmp_path, {**data, "text_lengths": [6, 0, 2, 1]}).features["language"]
    got = one(tmp_path, {**data, "text": make(data["text"]), "text_lengths": [6, 0, 2, 1]}).features["language"]
    assert_array_equal(got.values, want.values)
    assert_array_equal(got.offsets, want.offsets)


def test_ragged_features(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(t, 3)).astype(np.float16) for t in (2, 0, 5, 1)]
    split = one(tmp_path, fields(audio=objects(parts[0], None, parts[2], [])))
    assert split.features["audio"].lengths.tolist() == [2, 0, 5, 0]
    assert split.features["audio"].values.dtype == np.float16
    assert_array_equal(split.features["audio"][2], parts[2])
    split = one(tmp_path, fields(audio=parts, audio_lengths=[1, 0, 5, 1]))
    assert split.features["audio"].lengths.tolist() == [1, 0, 5, 1]
    split = one(tmp_path, fields(audio=[[1.0, 2.0], [3.0, 4.0], [], [5.0, 6.0]]))
    assert split.features["audio"].lengths.tolist() == [1, 1, 0, 1]
    assert split.features["audio"].values.tolist() == [[1, 2], [3, 4], [5, 6]]


def test_any_names_in_file_order_after_the_usual_ones(tmp_path: Path) -> None:
    n = 4
    data = {
        "gaze": np.zeros((n, 2)),
        "audio": np.zeros((n, 1, 2)),
        "eeg": np.zeros((n, 3, 2), np.float16),
        "video": np.zeros((n, 1, 7)),
        "tokens": np.zeros((n, 3, 2), np.int64),
        "emotion_labels": np.zeros((n, 6)),
        "scores": np.zeros(n),
        "notes": [None, "b", "c", "d"],
        "words": [["a"], ["b"], [], []],
    }
    corpus = load_corpus(save(tmp_path / "a.pkl", data))
    assert corpus.spec.names == ("vision", "audio", "gaze", "eeg")
    assert corpus.spec.modalities[2] == Modality("gaze", 2, 1)
    assert corpus["all"].ids == ("all-0", "all-1", "all-2", "all-3")
    assert corpus["all"].labels is None
    assert corpus.spec.task == "regression"


# --- lengths, presence, values


def test_presence_and_lengths(tmp_path: Path) -> None:
    data = fields(audio_present=[True, False, True, True], text_present=np.array([1, 1, 1, 0]))
    data["audio"][1] = np.nan
    data["audio"][2, 4] = np.inf
    data["audio"][3, 1:] = np.nan
    data |= {"audio_lengths": [5, 99, 4, 5], "text_bert": np.ones((4, 3, 6))}
    data["text_bert"][:, 1] = [[1, 1, 0, 0, 0, 0]] * 2 + [[0] * 6, [1] * 6]
    split = one(tmp_path, data)
    assert split.features["audio"].lengths.tolist() == [5, 0, 4, 5]
    assert split.features["language"].lengths.tolist() == [2, 2, 0, 0]
    assert split.present.tolist() == [[True, True], [True, False], [False, True], [False, True]]
    assert split.nonfinite == {"language": 0, "audio": 12}
    assert (split.features["audio"][3][1:] == 0).all()
    assert one(tmp_path, {**data, "text_lengths": [6] * 4}).features["language"].lengths.tolist() == [6, 6, 6, 0]
    other = one(tmp_path, {**data, "text_bert": np.ones((4, 3, 9))})
    assert other.features["language"].lengths.tolist() == [6, 6, 6, 0]


def test_values_too_large_for_float32_are_not_finite(tmp_path: Path) -> None:
    audio = np.ones((4, 5, 3))
    audio[1, 2, 0] = 1e300
    split = one(tmp_path, fields(audio=audio))
    assert split.nonfinite["audio"] == 1
    assert split.features["audio"].values.sum() == 4 * 5 * 3 - 1


def test_float16_stays(tmp_path: Path) -> None:
    audio = np.full((4, 5, 3), np.nan, np.float16)
    audio[:, 0] = 1
    split = one(tmp_path, fields(audio=audio))
    assert split.features["audio"].values.dtype == np.float16
    assert split.nonfinite["audio"] == 48


# --- names, dialogues


@pytest.mark.parametrize(
    "ids", [[b"a", b"b", b"c", b"d"], np.array(["a", "b", "c", "d"]), np.array([[b"a"], [b"b"], ["c"], ["d"]], object)]
)
def test_ids_of_any_type(tmp_path: Path, ids: Any) -> None:
    split = one(tmp_path, fields(id=ids))
    assert split.ids == ("a", "b", "c", "d")
    assert split.dialogue is None
    assert split.position is None


def test_dialogues(tmp_path: Path) -> None:
    assert one(tmp_path, fields(id=[3, 1, 2, 0])).ids == ("3", "1", "2", "0")
    assert one(tmp_path, fields(id=[f"video_0001/000{i}" for i in range(4)])).dialogue is None
    assert one(tmp_path, fields(id=["a_1", "a_2", "a$_$x", "a[3]"])).dialogue is None
    split = one(tmp_path, fields(id=["a$_$7", "b", "a$_$2", "c$_$d$_$3"]))
    assert split.dialogue == ("a", "b", "a", "c$_$d")
    assert split.position is not None
    assert split.position.tolist() == [7, 0, 2, 3]
    more = {"dialogue": ["x", "x", "y", "y"], "position": [1.0, 2.0, 1.0, 5.0], "speaker": np.array([1, 2, 1, 2])}
    split = one(tmp_path, fields(id=["a$_$7", "b", "a$_$2", "d"], **more))
    assert split.dialogue == ("x", "x", "y", "y")
    assert split.position is not None
    assert split.position.tolist() == [1, 2, 1, 5]
    assert split.speaker == ("1", "2", "1", "2")


# --- labels


def test_class_names_over_all_splits(tmp_path: Path) -> None:
    base = without(fields(), "regression_labels")
    parts = {
        "train": {**base, "classification_labels": [0, 1, 0, 1], "label_names": ["sad", "glad", "sad", "glad"]},
        "test": {**base, "classification_labels": [3.0, 1.0, np.nan, -1.0], "label_names": ["mad", "glad", "", ""]},
    }
    corpus = load_corpus(save(tmp_path / "a.pkl", parts))
    assert corpus.spec.task == "classification"
    assert corpus.spec.classes == ("sad", "glad", "2", "mad")
    labels = corpus["test"].labels
    assert labels is not None
    assert labels.tolist() == [3, 1, -1, -1]
    plain = {k: without(v, "label_names") for k, v in parts.items()}
    assert load_corpus(save(tmp_path / "b.pkl", plain)).spec.classes == ("0", "1", "2", "3")
    plain["train"]["annotations"] = ["sad", "glad", "glad", "glad"]
    assert load_corpus(save(tmp_path / "b.pkl", plain)).spec.classes == ("0", "1", "2", "3")


def test_unlabelled_samples_and_splits(tmp_path: Path) -> None:
    labels = np.array([[0.5], [np.nan], [1], [2]])
    path = save(
        tmp_path / "a.pkl", {"train": fields(regression_labels=labels), "test": without(fields(), "regression_labels")}
    )
    corpus = load_corpus(path)
    train = corpus["train"]
    assert train.labels is not None
    assert_array_equal(train.labels, np.array([0.5, np.nan, 1, 2], np.float32))
    with pytest.raises(ImderError, match=r"^a.pkl \[train\]: regression_labels: sample 'train1': the label is missing"):
        require_labels(train, "a.pkl [train]")
    with pytest.raises(ImderError, match=r"^a.pkl \[test\]: no labels for this task"):
        require_labels(corpus["test"], "a.pkl [test]")
    rows = np.array([0, 2, 3])
    assert require_labels(train.take(rows), "").tolist() == [0.5, 1, 2]
    only = without(fields(classification_labels=[0, -1, 1, 1]), "regression_labels")
    with pytest.raises(ImderError, match="here: classification_labels: sample 'train1': the label is missing"):
        require_labels(one(tmp_path, only), "here")
    assert one(tmp_path, without(fields(), "regression_labels"), task="classification").labels is None


# --- real data


@pytest.mark.skipif(DATA is None, reason="IMDER_DATA is not set")
@pytest.mark.parametrize(
    ("name", "sizes", "names"),
    [
        ("mosi_standard", (1284, 229, 686), ("language", "vision", "audio")),
        ("mosi_complete", (401, 172, 179), ("language", "vision", "audio")),
        ("mmmo", (292, 18, 30), ("language", "vision", "audio")),
        ("ravdess_av", (957, 120, 360), ("vision", "audio")),
        ("mmsa_sample.pkl", (48, 16, 16), ("language", "vision", "audio")),
    ],
)
def test_real_corpora(tmp_path: Path, name: str, sizes: tuple[int, ...], names: tuple[str, ...]) -> None:
    corpus: Corpus = load_corpus(Path(str(DATA)) / name)
    assert tuple(len(corpus[s]) for s in ("train", "valid", "test")) == sizes
    assert corpus.spec.names == names
    write_store(corpus, tmp_path / "store")
    again = load_corpus(tmp_path / "store")
    for key, split in corpus.splits.items():
        assert again[key].ids == split.ids
        for modality, ragged in split.features.items():
            assert_array_equal(again[key].features[modality].values, ragged.values.astype(np.float32))
