"""Reading feature files: what is taken from them, and one line for everything that can be wrong."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from imder.data.compatible import check_compatible
from imder.data.corpus import Corpus, Split
from imder.data.formats.labels import require_labels
from imder.data.formats.load import load_corpus
from imder.data.store import write_store
from imder.types import ImderError, Modality, Spec

DATA = os.environ.get("IMDER_DATA")
Fields = dict[str, Any]


def fields(n: int = 4, split: str = "train", **more: Any) -> Fields:
    rng = np.random.default_rng(n)
    return {
        "audio": rng.normal(size=(n, 5, 3)).astype(np.float32),
        "text": rng.normal(size=(n, 6, 4)).astype(np.float32),
        "id": [f"{split}{i}" for i in range(n)],
        "regression_labels": np.linspace(-3, 3, n),
        **more,
    }


def save(path: Path, data: Any) -> Path:
    if path.suffix == ".npz":
        path.parent.mkdir(exist_ok=True)
        np.savez(path, **data)
    else:
        path.write_bytes(pickle.dumps(data, 4))
    return path


def one(tmp_path: Path, data: Fields, **options: Any) -> Split:
    """The only split of an unsplit pickle."""
    return load_corpus(save(tmp_path / "one.pkl", data), **options)["all"]


def without(data: Fields, *keys: str) -> Fields:
    return {k: v for k, v in data.items() if k not in keys}


def objects(*items: Any) -> np.ndarray:
    array = np.empty(len(items), object)
    array[:] = [None] * len(items)
    for i, x in enumerate(items):
        array[i] = x
    return array


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
    data["audio"][3] = np.nan
    data |= {"audio_lengths": [5, 99, 4, 5], "text_bert": np.ones((4, 3, 6))}
    data["text_bert"][:, 1] = [[1, 1, 0, 0, 0, 0]] * 2 + [[0] * 6, [1] * 6]
    split = one(tmp_path, data)
    assert split.features["audio"].lengths.tolist() == [5, 0, 4, 5]
    assert split.features["language"].lengths.tolist() == [2, 2, 0, 0]
    assert split.present.tolist() == [[True, True], [True, False], [False, True], [False, True]]
    assert split.nonfinite == {"language": 0, "audio": 15}
    assert (split.features["audio"][3] == 0).all()
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
    split = one(tmp_path, fields(audio=np.full((4, 5, 3), np.nan, np.float16)))
    assert split.features["audio"].values.dtype == np.float16
    assert split.nonfinite["audio"] == 60


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
    with pytest.raises(ImderError, match=r"^a.pkl \[test\]: there are no labels for this task"):
        require_labels(corpus["test"], "a.pkl [test]")
    rows = np.array([0, 2, 3])
    assert require_labels(train.take(rows), "").tolist() == [0.5, 1, 2]
    only = without(fields(classification_labels=[0, -1, 1, 1]), "regression_labels")
    with pytest.raises(ImderError, match="here: classification_labels: sample 'train1': the label is missing"):
        require_labels(one(tmp_path, only), "here")
    assert one(tmp_path, without(fields(), "regression_labels"), task="classification").labels is None


# --- what is wrong


def broken_at(value: float) -> list[float]:
    return [1, value, 2, 3]


CLASSES = {"classification_labels": [0, 1, 0, 1]}
WRONG: dict[str, tuple[Fields, str]] = {
    "a long length": ({"audio_lengths": broken_at(6)}, r"audio_lengths: sample 'train1': .* 6 lies outside \[0, 5\]"),
    "a negative length": ({"text_lengths": broken_at(-1)}, "text_lengths: sample 'train1': .* -1 lies outside"),
    "half a frame": ({"text_lengths": broken_at(1.5)}, "text_lengths: sample 'train1': .* 1.5 lies outside"),
    "a NaN length": ({"text_lengths": broken_at(np.nan)}, "text_lengths: sample 'train1': .* nan lies outside"),
    "a length in words": ({"audio_lengths": [1, "two", 3, 4]}, "audio_lengths: sample 'train1': 'two' is not a number"),
    "too few lengths": ({"audio_lengths": [1, 2, 3]}, "audio_lengths: 3 rows where the features have 4"),
    "strange presence": ({"audio_present": broken_at(0.5)}, "audio_present: sample 'train1': 0.5 is neither"),
    "too few rows": ({"audio": np.zeros((3, 5, 3))}, "audio: 3 rows where text has 4"),
    "too many ids": ({"id": list("abcde")}, "id: 5 rows where the features have 4"),
    "ids in pairs": ({"id": np.array([["a", "b"]] * 4)}, "id: row 0 holds 2 values"),
    "too few texts": ({"raw_text": ["a"]}, "raw_text: 1 rows where"),
    "no rows": ({"speaker": "bob"}, "speaker: no rows where"),
    "the same id twice": ({"id": ["a", "b", "c", "b"]}, "id: sample 'b': rows 1 and 3 have the same id"),
    "half a position": ({"position": broken_at(0.5)}, "position: sample 'train1': 0.5 is not a whole number"),
    "differing dims": (
        {"audio": [np.zeros((2, 3)), np.ones((2, 3)), np.ones((2, 4)), np.ones((1, 3))]},
        "audio: sample 'train2': 4 features where others have 3",
    ),
    "no array": ({"audio": [np.ones((2, 3)), "x", None, None]}, "audio: sample 'train1': is not a"),
    "one modality twice": ({"language": np.zeros((4, 1, 2))}, "language: is language, and so is the field 'text'"),
    "an infinite label": (
        {"regression_labels": broken_at(np.inf)},
        "regression_labels: sample 'train1': .* inf is not",
    ),
    "a label in words": (
        {"regression_labels": [1, 2, 3, "x"]},
        "regression_labels: sample 'train3': 'x' is not a number",
    ),
    "two labels each": ({"regression_labels": np.zeros((4, 2))}, r"regression_labels: one number .* shape \(4, 2\)"),
    "half a class": (
        {"classification_labels": broken_at(0.5)},
        "classification_labels: sample 'train1': .* 0.5 is out",
    ),
    "a low class": (
        {"classification_labels": broken_at(-2)},
        "classification_labels: sample 'train1': .* -2 is out of range",
    ),
    "a huge class": (
        {"classification_labels": broken_at(1e9)},
        r"classification_labels: sample 'train1': .* 1e\+09 is out",
    ),
    "a named -1": (
        {"classification_labels": [-1, 0, 1, 1], "annotations": list("abcc")},
        "classification_labels: sample 'train0': -1 is out of range for the class 'a'",
    ),
    "two names": ({**CLASSES, "label_names": list("abac")}, "label_names: sample 'train3': label 1 is called 'c' here"),
    "one name for two": (
        {**CLASSES, "label_names": list("aaaa")},
        "label_names: sample 'train1': label 1 is called 'a'",
    ),
    "no columns": ({"gaze": np.zeros((4, 2, 0))}, "gaze: has no features, only frames"),
    "a label beyond float32": (
        {"regression_labels": broken_at(1e300)},
        "regression_labels: sample 'train1': .* is not",
    ),
    "a far position": ({"position": broken_at(1e30)}, r"position: sample 'train1': 1e\+30 is not a whole number"),
    "an impossible name": ({"a.b": np.zeros((4, 2))}, "'a.b' can't be a modality's name"),
    "one class": ({"classification_labels": [0, 0, 0, 0]}, "classification_labels: at least two classes are needed"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("kind", ["pkl", "npz"])
def test_one_line_names_file_field_and_sample(tmp_path: Path, case: str, kind: str) -> None:
    more, message = WRONG[case]
    ragged = any(isinstance(v, list) and {type(x) for x in v} - {int, float, str} for v in more.values())
    if kind == "npz" and (ragged or case in ("a length in words", "a label in words")):
        pytest.skip("an npz file cannot hold this")
    task: Any = "classification" if "classification_labels" in more else None
    path = save(tmp_path / f"file.{kind}", fields(**more))
    with pytest.raises(ImderError, match=message) as caught:
        load_corpus(path, task=task)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_empty_samples(tmp_path: Path) -> None:
    data = fields(audio_present=[0, 1, 0, 1], text_present=[0, 0, 1, 1])
    with pytest.raises(ImderError, match=r"one\.pkl \[all\]: language, audio: sample 'train0': it has no modality"):
        one(tmp_path, data)
    split = one(tmp_path, data, drop_empty=True)
    assert split.ids == ("train1", "train2", "train3")
    assert split.dropped == 1
    assert split.labels is not None
    assert len(split.labels) == 3
    assert_array_equal(split.features["audio"][2], data["audio"][3])


def test_splits_that_differ(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    save(path, {"train": fields(), "valid": fields(audio=np.zeros((4, 5, 2)))})
    with pytest.raises(ImderError, match=r"a\.pkl \[valid\]: audio: 2 features here, but 3 in .*\[train\]"):
        load_corpus(path)
    save(path, {"train": fields(), "valid": without(fields(), "text")})
    with pytest.raises(ImderError, match=r"a\.pkl \[valid\]: text: no such features here, but in .*\[train\]"):
        load_corpus(path)
    save(path, {"train": fields(), "valid": fields(gaze=np.zeros((4, 2)))})
    with pytest.raises(ImderError, match=r"a\.pkl \[train\]: gaze: no such features here, but in .*\[valid\]"):
        load_corpus(path)
    save(path, {"train": fields(), "dev": fields()})
    with pytest.raises(ImderError, match=r"a\.pkl: unknown split 'dev'"):
        load_corpus(path)


def test_files_that_are_no_corpora(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.csv").write_text("x")
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "a.npy").rename(tmp_path / "array.npz")
    cases = {
        "nowhere": "there is no such file",
        "empty": "neither a store",
        "a.csv": "unknown type of file '.csv'",
        "array.npz": "not a complete npz file",
    }
    save(tmp_path / "list.pkl", [1, 2])
    save(tmp_path / "none.pkl", {"train": {"id": ["a"], "raw_text": ["b"]}})
    save(tmp_path / "single.pkl", without(fields(), "text"))
    save(tmp_path / "regression.pkl", fields())
    cases |= {
        "list.pkl": "a dict of splits or fields is needed, found list",
        "none.pkl": r"\[train\]: no field holds features; it has id, raw_text",
        "single.pkl": "at least two modalities are needed, found only audio",
    }
    for name, message in cases.items():
        with pytest.raises(ImderError, match=f"{name}.*{message}"):
            load_corpus(tmp_path / name)
    with pytest.raises(ImderError, match=r"regression\.pkl: classification_labels: not in the file"):
        load_corpus(tmp_path / "regression.pkl", task="classification")


def test_truncated_and_pickled_npz(tmp_path: Path) -> None:
    path = save(tmp_path / "train.npz", fields())
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImderError, match=r"train\.npz: not a complete npz file"):
        load_corpus(path)
    at = data.index(b"NUMPY")
    path.write_bytes(data[:at] + b"OTHER" + data[at + 5 :])
    with pytest.raises(ImderError, match=r"train\.npz: audio: cannot be read"):
        load_corpus(path)
    save(path, fields(audio=objects(1, 2, 3, 4)))
    with pytest.raises(ImderError, match=r"train\.npz: audio: cannot be read .*allow_pickle"):
        load_corpus(tmp_path)


# --- trained models


SPEC = Spec((Modality("audio", 3, 9), Modality("vision", 2, 9), Modality("language", 4, 9)))


def test_a_corpus_fits_a_model(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pkl", fields())
    corpus = load_corpus(path)
    fitted = check_compatible(SPEC, corpus)
    assert fitted.spec == Spec((Modality("audio", 3, 5), Modality("vision", 2, 1), Modality("language", 4, 6)))
    split = fitted["all"]
    assert split.present.tolist() == [[True, False, True]] * 4
    assert split.features["vision"][0].shape == (0, 2)
    assert_array_equal(split.features["audio"].values, corpus["all"].features["audio"].values)
    assert split.labels is corpus["all"].labels
    assert load_corpus(path, spec=SPEC).spec == fitted.spec
    narrow = Spec((Modality("audio", 3, 9), Modality("vision", 2, 9)))
    with pytest.raises(ImderError, match=r"a\.pkl \[all\]: language: the model doesn't know this modality"):
        check_compatible(narrow, corpus)
    other = Spec((Modality("audio", 7, 9), Modality("language", 4, 9)))
    with pytest.raises(ImderError, match=r"a\.pkl \[all\]: audio: 3 features; the model was made for 7"):
        check_compatible(other, corpus)


def test_one_modality_is_enough_for_a_model(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", {"audio": np.ones((2, 5, 3))})
    split = load_corpus(path, spec=SPEC)["all"]
    assert split.present.tolist() == [[True, False, False]] * 2


def test_classes_are_renumbered_by_name(tmp_path: Path) -> None:
    spec = Spec((Modality("audio", 3, 9), Modality("language", 4, 9)), "classification", ("glad", "mad", "sad"))
    base = without(fields(), "regression_labels")
    named = {**base, "classification_labels": [0, 2, -1, 2], "label_names": ["sad", "glad", "", "glad"]}
    path = save(tmp_path / "a.pkl", named)
    for fitted in (load_corpus(path, spec=spec), check_compatible(spec, load_corpus(path))):
        assert fitted.spec.classes == spec.classes
        assert fitted["all"].labels is not None
        assert fitted["all"].labels.tolist() == [2, 0, -1, 0]
    only = save(tmp_path / "b.pkl", {**named, "classification_labels": [0] * 4, "label_names": ["sad"] * 4})
    labels = load_corpus(only, spec=spec)["all"].labels
    assert labels is not None
    assert labels.tolist() == [2] * 4
    worse = save(tmp_path / "c.pkl", {**named, "label_names": ["sad", "bored", "", "bored"]})
    with pytest.raises(ImderError, match=r"classification_labels: sample 'train1': .* the class 'bored'"):
        load_corpus(worse, spec=spec)
    assert load_corpus(save(tmp_path / "d.pkl", base), spec=spec)["all"].labels is None
    assert load_corpus(save(tmp_path / "e.pkl", fields()), spec=spec)["all"].labels is None


def test_stores_go_the_same_way(tmp_path: Path) -> None:
    corpus = load_corpus(save(tmp_path / "a.pkl", fields(text_present=[1, 0, 1, 1])))
    write_store(corpus, tmp_path / "store")
    again = load_corpus(tmp_path / "store")
    assert again.spec == corpus.spec
    assert again.name == "a.pkl"
    assert load_corpus(tmp_path / "store", spec=SPEC).spec.names == SPEC.names
    with pytest.raises(ImderError, match="the store holds labels for regression, not for classification"):
        load_corpus(tmp_path / "store", task="classification")


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
