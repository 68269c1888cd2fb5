"""One line for each mistake in a feature file, naming file, field and sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from corpus_files import Fields, fields, objects, one, save, without
from imder.data.formats.load import load_corpus
from imder.types import ImderError


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
    "no array": (
        {"audio": [np.ones((2, 3)), "x", None, None]},
        r"audio: sample 'train1': an array \(T, D\) or \(D,\) of numbers is needed, got str",
    ),
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
    "a far position": ({"position": broken_at(1e30)}, r"position: sample 'train1': 1e\+30 is too large"),
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
    save(path, {"train": fields(), "fold1": fields()})
    with pytest.raises(ImderError, match=r"a\.pkl: unknown split 'fold1'"):
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
    save(tmp_path / "regression.pkl", fields())
    cases |= {
        "list.pkl": "a dict of splits or fields is needed, found list",
        "none.pkl": r"\[train\]: no field holds features; it has id, raw_text",
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
    with pytest.raises(ImderError, match=r"train\.npz: audio: an array of Python objects .*give audio_lengths"):
        load_corpus(tmp_path)
