"""Marks of what was filled, and names of classes without samples, in every format."""

import numpy as np
import pytest

from corpus_files import fields, one, save
from imder.data.corpus import Corpus
from imder.data.formats.load import load_as_given, load_corpus
from imder.data.store_writer import write_store
from imder.types import ImderError, Modality, Spec

MARKS = np.array([True, False, True, False])


@pytest.mark.parametrize("name", ["clips.npz", "clips.pkl"])
@pytest.mark.parametrize("key", ["text_filled", "language_filled"])
def test_marks_come_back_and_are_no_features(name, key, tmp_path):
    data = fields(**{key: MARKS.astype(np.float32), "emotion": np.ones((4, 2), np.float32), "emotion_filled": ~MARKS})
    data = {k: np.asarray(v) for k, v in data.items()}
    split = load_corpus(save(tmp_path / name, data))["all"]
    assert set(split.features) == {"language", "audio", "emotion"}
    assert {k: v.tolist() for k, v in split.filled.items()} == {
        "language": MARKS.tolist(),
        "emotion": (~MARKS).tolist(),
    }
    assert split.unread == ()
    assert split[[2, 1]].filled["language"].tolist() == [True, False]
    assert "filled: language 2, emotion 2" in split.summary()


def test_a_mark_is_true_or_false(tmp_path):
    with pytest.raises(ImderError, match="text_filled: sample 'train1': 3 is neither true nor false"):
        one(tmp_path, fields(text_filled=np.array([0, 3, 0, 0])))


def test_marks_of_nothing_are_remarked(tmp_path):
    split = one(tmp_path, fields(smell_filled=MARKS))
    assert split.filled == {}
    assert split.unread == ("field 'smell_filled' is not read: it belongs to no modality",)


def test_marks_in_memory_and_in_a_store(tmp_path):
    columns = {"audio": np.ones((4, 2), np.float16), "text": np.ones((4, 3, 2)), "audio_filled": MARKS}
    corpus = Corpus.from_arrays({"test": columns})
    assert corpus["test"].filled["audio"].tolist() == MARKS.tolist()
    write_store(corpus, tmp_path / "store", None)
    loaded = load_corpus(tmp_path / "store")["test"]
    assert loaded.filled["audio"].tolist() == MARKS.tolist()
    assert {name: r.values.dtype for name, r in loaded.features.items()} == {
        "audio": np.float16,
        "language": np.float32,
    }


def test_names_of_all_classes(tmp_path):
    data = fields(classification_labels=np.array([0, 2, 0, 2]), class_names=["sad", "mad", "glad", "bad"])
    path = save(tmp_path / "one.pkl", data)
    assert load_corpus(path, task="classification").spec.classes == ("sad", "mad", "glad", "bad")
    for names in (["sad", "mad"], ["sad", "sad", "glad"]):
        with pytest.raises(ImderError, match="class_names: 3 different names are needed"):
            load_corpus(save(tmp_path / "one.pkl", data | {"class_names": names}), task="classification")


def test_a_file_as_given_keeps_names_and_labels_of_the_models_task(tmp_path):
    data = fields(classification_labels=np.array([0, 1, 0, 1]), video=np.ones((4, 5), np.float32))
    path = save(tmp_path / "one.pkl", data)
    spec = Spec((Modality("audio", 3, 5), Modality("language", 4, 6)), "classification", ("a", "b"))
    corpus, files = load_as_given(spec, None, "a model", path)
    assert corpus.spec.task == "classification"
    assert list(corpus["all"].features) == ["language", "vision", "audio"]
    assert {name: (s.field, s.frames) for name, s in files["all"].shapes.items()} == {
        "language": ("text", 6),
        "vision": ("video", None),
        "audio": ("audio", 5),
    }
    assert load_as_given(Spec(spec.modalities), None, "a model", path)[0].spec.task == "regression"
