"""Corpora from arrays and data sets in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imder.benchmarking.benchmark import benchmark
from imder.data.corpus import Corpus
from imder.data.dialogues import dialogue_numbers
from imder.data.store import read_store, write_store
from imder.evaluation.evaluate import evaluate
from imder.inference.predict import predict
from imder.inference.recover import recover
from imder.training.train import train
from imder.types import ImderError
from tiny_models import Summing, tiny_corpus

RNG = np.random.default_rng(0)
LISTS = [RNG.standard_normal((t, 4)) for t in (3, 5, 1)]


def columns(**more) -> dict:
    return {"language": LISTS, "audio": RNG.standard_normal((3, 6)), "labels": [0.5, None, -1.0], **more}


def test_every_shape_of_features() -> None:
    padded = RNG.standard_normal((3, 7, 2)).astype(np.float32)
    given = {
        "language": LISTS,
        "vision": torch.from_numpy(padded),
        "audio": RNG.standard_normal((3, 6)),
        "pulse": [torch.ones(2), np.ones(2), [1, 2]],
        "gaze": np.arange(6).reshape(3, 2),
        "vision_lengths": [7, 2, 0],
    }
    corpus = Corpus.from_arrays({"train": given}, name="mine")
    split = corpus["train"]
    assert corpus.name == "mine"
    assert {m.name: (m.dim, m.length) for m in corpus.spec.modalities} == {
        "language": (4, 5),
        "vision": (2, 7),
        "audio": (6, 1),
        "pulse": (2, 1),
        "gaze": (2, 1),
    }
    assert split.features["vision"].lengths.tolist() == [7, 2, 0]
    np.testing.assert_array_equal(split.features["vision"][1], padded[1, :2])
    np.testing.assert_allclose(split.features["language"][1], LISTS[1], rtol=1e-6)
    assert split.features["gaze"][2].tolist() == [[4, 5]]
    assert split.ids == ("train-0", "train-1", "train-2")
    assert split.labels is None
    assert corpus.spec.task == "regression"


@pytest.mark.parametrize("missing", [None, float("nan"), np.full((2, 6), np.nan), np.zeros((0, 6)), []])
def test_a_missing_modality(missing) -> None:
    given = columns(audio=[np.ones((2, 6)), missing, np.ones((2, 6))])
    assert Corpus.from_arrays({"test": given})["test"].present[:, 1].tolist() == [True, False, True]


def test_rows_of_nan_are_missing_and_single_values_are_counted() -> None:
    audio = np.ones((3, 2, 6), np.float32)
    audio[0] = np.nan
    audio[1, 0, 0] = np.inf
    split = Corpus.from_arrays({"train": columns(audio=audio)})["train"]
    assert split.present[:, 1].tolist() == [False, True, True]
    assert split.nonfinite["audio"] == 1


def test_what_nan_to_num_leaves_of_infinities_is_not_finite() -> None:
    audio = np.ones((3, 2, 6), np.float32)
    audio[0], audio[1, 0, :3] = np.inf, [np.inf, -np.inf, 3e38]
    split = Corpus.from_arrays({"train": columns(audio=np.nan_to_num(audio))})["train"]
    assert split.present[:, 1].tolist() == [False, True, True]
    assert split.features["audio"][1][0].tolist() == [0, 0, np.float32(3e38), 1, 1, 1]
    assert split.nonfinite["audio"] == 2


def test_a_split_may_lack_a_modality_in_every_sample() -> None:
    for absent in (None, [None] * 3, np.full((3, 6), np.nan)):
        corpus = Corpus.from_arrays({"train": columns(), "test": columns(audio=absent)})
        assert corpus["test"].present.tolist() == [[True, False]] * 3
        assert corpus["test"].features["audio"].dim == 6
    padded = {"audio": np.full((3, 4, 6), np.nan), "audio_lengths": np.array([4, 0, 1])}
    corpus = Corpus.from_arrays({"train": columns(), "test": columns(**padded)})
    assert corpus["test"].present.tolist() == [[True, False]] * 3


@pytest.mark.parametrize("more", [{}, {"language": [None] * 3}, {"language": None, "vision": np.full((3, 2), np.nan)}])
def test_one_modality_is_a_corpus_for_a_trained_model(more, caplog) -> None:
    corpus = Corpus.from_arrays({"all": {"audio": np.ones((3, 3)), **more}})
    assert corpus.spec.names == ("audio",)
    assert caplog.messages == [
        f"arrays [all]: {name}: no sample of any split has this modality; it is left out" for name in more
    ]
    model = Summing(tiny_corpus().spec)
    rows = predict(model, corpus)
    assert rows["missing"] == ["language+vision"] * 3
    assert rows["prediction"] == [1.0] * 3
    assert len(recover(model, corpus)["all"]) == 3
    labelled = Corpus.from_arrays({"test": {"audio": np.ones((3, 3)), "labels": [0.5, 1.5, -1.0]}})
    assert evaluate(model, labelled, "natural")[0]["n"] == 3


def test_training_needs_two_modalities(tmp_path) -> None:
    given = {"audio": np.ones((3, 3)), "labels": [0.5, 1.5, -1.0]}
    corpus = Corpus.from_arrays({"train": given, "valid": given})
    with pytest.raises(ImderError, match="arrays: training needs at least two modalities, found only audio"):
        train(corpus, tmp_path / "run")
    with pytest.raises(ImderError, match="at least two modalities"):
        benchmark(corpus, tmp_path / "benchmark")
    with pytest.raises(ImderError, match="a model needs at least two modalities, got audio"):
        Summing(corpus.spec)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([-1, 0, 1], {}, "arrays: 1 of 3 samples count as unlabelled, because the class -1 means unknown"),
        ([1, 2, 3], {}, "arrays: no sample has the class 0 of classes 0 to 3"),
        ([0, 1, 2], {}, None),
        ([0, 1, None], {}, None),
        ([[1], [0], [1]], {}, None),
        (["a", "b", None], {}, None),
        ([0, 1, 0], {"classes": ("a", "b", "c")}, None),
        ([-1, 0, 1], {"task": "regression"}, None),
    ],
)
def test_class_numbers_that_may_be_misread_are_a_warning(labels, options, message, caplog) -> None:
    Corpus.from_arrays({"train": columns(labels=labels)}, **options)
    assert len(caplog.messages) == (message is not None)
    if message is not None:
        assert caplog.messages[0].startswith(message)
        assert "task='regression'" in caplog.messages[0]


def test_what_belongs_to_samples_goes_along(tmp_path) -> None:
    given = columns(
        ids=np.array([7, 8, 9]),
        texts=["a", None, "c"],
        dialogue=["x", "x", "y"],
        position=torch.tensor([1, 0, 0]),
        speaker=["s", "t", None],
    )
    corpus = Corpus.from_arrays({"train": given})
    split = corpus["train"]
    assert split.ids == ("7", "8", "9")
    assert split.texts == ("a", "", "c")
    assert split.dialogue == ("x", "x", "y")
    assert split.position.tolist() == [1, 0, 0]
    assert split.speaker == ("s", "t", "")
    assert split.labels.tolist()[::2] == [0.5, -1]
    assert np.isnan(split.labels[1])
    write_store(corpus, tmp_path / "store")
    assert read_store(tmp_path / "store")["train"].texts == split.texts


@pytest.mark.parametrize(
    ("labels", "options", "classes", "expected"),
    [
        (["b", None, "a"], {}, ("a", "b"), [1, -1, 0]),
        (["b", "", "a"], {"classes": ("b", "a", "c")}, ("b", "a", "c"), [0, -1, 1]),
        ([2, -1, 0], {}, ("0", "1", "2"), [2, -1, 0]),
        (torch.tensor([1, 0, 1]), {"classes": ["x", "y"]}, ("x", "y"), [1, 0, 1]),
        (np.array([[1.0], [0.0], [np.nan]]), {"task": "classification"}, ("0", "1"), [1, 0, -1]),
        ([np.int64(1), True, 0], {}, ("0", "1"), [1, 1, 0]),
    ],
)
def test_classes(labels, options, classes, expected) -> None:
    corpus = Corpus.from_arrays({"train": columns(labels=labels)}, **options)
    assert corpus.spec.task == "classification"
    assert corpus.spec.classes == classes
    assert corpus["train"].labels.tolist() == expected


def test_a_missing_dialogue_is_none_and_needs_no_position() -> None:
    columns_of_a_table = columns(dialogue=["x", np.nan, None], position=[3, np.nan, None], speaker=["a", np.nan, None])
    split = Corpus.from_arrays({"train": columns_of_a_table})["train"]
    assert (split.dialogue, split.speaker) == (("x", "", ""), ("a", "", ""))
    assert split.position.tolist() == [3, 0, 0]
    assert dialogue_numbers(split).tolist() == [0, 1, 2]


def test_a_split_may_be_empty(tmp_path) -> None:
    full = columns(dialogue=["x", "x", ""], position=[0, 1, 2], speaker=["a", "b", ""], labels=[1.0, 2.0, np.nan])
    corpus = Corpus.from_arrays({"train": full, "test": {key: value[:0] for key, value in full.items()}})
    corpus.save(tmp_path / "store")
    test = read_store(tmp_path / "store")["test"]
    assert (len(test), test.dialogue, len(test.position), len(test.labels)) == (0, (), 0, 0)
    assert corpus.spec == read_store(tmp_path / "store").spec


def test_integers_may_be_regressed() -> None:
    corpus = Corpus.from_arrays({"train": columns(labels=[-2, 3, 0])}, task="regression")
    assert corpus["train"].labels.tolist() == [-2, 3, 0]
    assert corpus["train"].labels.dtype == np.float32


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ({}, {}, "a dict of splits is needed"),
        ({"fold1": columns()}, {}, "unknown split 'fold1'"),
        ({"train": 3}, {}, r"arrays \[train\]: a dict of arrays is needed, got int"),
        ({"train": columns()}, {"task": "ranking"}, "unknown task 'ranking'"),
        ({"train": columns(audio=np.zeros((3, 2, 2, 2)))}, {}, r"audio: an array \(N, T, D\).*shape \(3, 2, 2, 2\)"),
        ({"train": columns(audio="loud")}, {}, "audio: an array or a list of arrays is needed, got str"),
        ({"train": columns(audio=["a", "b", "c"])}, {}, "audio: sample 'train-0': an array"),
        ({"train": columns(audio=[[1], [[1], [1, 2]], [1]])}, {}, r"audio: sample 'train-1': .*got list"),
        ({"train": columns(audio=[np.ones((1, 2)), np.ones((1, 3)), None])}, {}, "audio: sample 'train-1': 3 features"),
        ({"train": columns(audio=np.ones((4, 2)))}, {}, "audio: 4 rows where language has 3"),
        (
            {"train": {"audio": [None] * 3}},
            {},
            "audio: no sample of any split has this modality, and there is no other",
        ),
        ({"train": columns(), "test": columns(audio=np.ones((3, 5)))}, {}, "audio: 5 features here, but 6"),
        ({"train": columns(ids=["a", "b"])}, {}, "ids: 2 rows where the features have 3"),
        ({"train": columns(ids=["a", "b", "a"])}, {}, "ids: sample 'a': rows 0 and 2 have the same id"),
        ({"train": columns(position=[0, 0.5, 1])}, {}, "position: sample 'train-1': 0.5 is not a whole number"),
        ({"train": columns(position=[0, 10**17, 1])}, {}, r"position: sample 'train-1': 1e\+17 is too large"),
        (
            {"train": columns(dialogue=["x", "x", ""], position=[0, None, None])},
            {},
            "position: sample 'train-1': the clip has none; give it one, or leave its dialogue empty",
        ),
        ({"train": columns(labels=[1.0])}, {}, "labels: 1 rows where the features have 3"),
        (
            {"train": columns(labels=[1.0, "high", 2.0])},
            {"task": "regression"},
            "sample 'train-1': 'high' is no finite",
        ),
        ({"train": columns(labels=[1.0, np.inf, 2.0])}, {}, "labels: sample 'train-1': inf is no finite"),
        ({"train": columns(labels=["a", "b", "c"])}, {"classes": ("a", "b")}, "sample 'train-2': 'c' is no class"),
        ({"train": columns(labels=[0, 1, 2])}, {"classes": ("a", "b")}, "2 is no class; classes are a, b"),
        ({"train": columns(labels=[-2, 0, 1])}, {}, "-2 is no class.*task='regression'"),
        ({"train": columns(labels=["a", "b", "a"])}, {"classes": "ab"}, "a sequence of names"),
        ({"train": columns(labels=["a", "a", "a"])}, {}, "at least two classes"),
        ({"train": columns(label=[1.0] * 3)}, {}, "label: is labels, which is given already"),
        ({"train": columns(my_label=[1.0] * 3)}, {}, "my_label: is no modality and no known key"),
        ({"train": columns(gaze_lengths=[1, 2, 3])}, {}, "gaze_lengths: there is no modality 'gaze'"),
        ({"train": columns(labels=np.eye(3))}, {}, r"labels: one label .* the shape \(3, 3\); of one-hot rows"),
        ({"train": columns(labels=[[0, 1], [1, 0], [0, 1]])}, {}, "'train-0': one label is needed, found a list of 2"),
        ({"train": columns(labels=[1.0, "a", None])}, {}, r"\[train\]: labels: some are strings, others numbers"),
        (
            {"train": columns(labels=list("abc")), "valid": columns(labels=[0, 1, 2])},
            {},
            "arrays: labels are strings in train, numbers in valid",
        ),
        ({"train": columns(labels=[[1, [2]], [0], [1]])}, {}, "'train-0': one label is needed, found a list of 2"),
        ({"train": columns(labels=[torch.eye(3)[0]] * 3)}, {}, r"'train-0': one label .* array of shape \(3,\)"),
        (
            {"train": columns(labels=[0, 10**30, 1])},
            {},
            "labels: sample 'train-1': a whole number of 100 bits is too large",
        ),
        ({"train": columns(audio=torch.ones(3, 2, device="meta"))}, {}, "audio: an array .* is needed, got Tensor"),
        ({"train": columns(audio=[None, torch.ones(2, device="meta"), None])}, {}, "'train-1': .* needed, got Tensor"),
        ({"train": columns(audio=torch.ones(3, 2, dtype=torch.complex64).conj())}, {}, "found an array of complex64"),
        ({"train": columns(labels=[0, 10**9, 1])}, {}, r"the class 1e\+09: at most 1000 classes.*task='regression'"),
        ({"train": columns(labels=[0.0, np.inf, 1])}, {"task": "classification"}, "'train-1': inf is no class"),
        ({"train": columns(id=["a"])}, {}, r"\[train\]: id: 1 rows"),
        ({"train": columns(texts=["a"])}, {}, r"\[train\]: texts: 1 rows"),
        ({"train": columns(language=[None, *LISTS[1:]], audio=[None, *[np.ones(2)] * 2])}, {}, "no modality at all"),
    ],
)
def test_mistakes_are_one_error_that_says_where(given, options, message) -> None:
    with pytest.raises(ImderError, match=message) as caught:
        Corpus.from_arrays(given, **options)
    assert "\n" not in str(caught.value)


class Clips(torch.utils.data.Dataset):
    """A map-style data set without an end that raises IndexError."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> dict:
        sample = {"vision": torch.full((i + 1, 2), float(i)), "label": torch.tensor(i % 2), "id": f"clip{i}"}
        return sample if i == 2 else {**sample, "audio": torch.ones(3), "text": "hello"}


def test_a_torch_dataset() -> None:
    corpus = Corpus.from_dataset(Clips(), split="test", classes=("calm", "glad"), name="clips")
    split = corpus["test"]
    assert split.ids == ("clip0", "clip1", "clip2", "clip3")
    assert split.present.tolist() == [[True, True], [True, True], [True, False], [True, True]]
    assert split.labels.tolist() == [0, 1, 0, 1]
    assert split.texts == ("hello", "hello", "", "hello")
    assert split[3].features["vision"].tolist() == [[3, 3]] * 4


def test_iterables_and_several_splits() -> None:
    samples = [{"face": np.ones((2, 3)), "voice": np.ones((1, 2)), "label": "glad"}, {"voice": np.ones((4, 2))}]
    samples.append({"face": np.ones((1, 3)), "label": "sad"})
    corpus = Corpus.from_dataset({"train": iter(samples), "test": samples[:2]})
    assert list(corpus) == ["train", "test"]
    assert corpus["train"].labels.tolist() == [0, -1, 1]
    assert corpus["train"].present.tolist() == [[True, True], [False, True], [True, False]]


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (3, "a dataset or an iterable of dicts is needed, got int"),
        ([], "there are no samples"),
        ([({"audio": 1}, 2)], r"dataset \[train\]: sample 0: a dict is needed, got tuple"),
        ([{"voice": np.ones(2), "face": np.ones(3)}, {"voice": "loud"}], "voice: sample 'train-1'"),
        ([{1: np.ones(2)}], "keys are strings, got 1"),
        (torch.utils.data.DataLoader([{"audio": torch.ones(2)}]), r"pass the Dataset \(loader.dataset\)"),
        (
            [{"face": np.ones(2), "voice": np.ones(2), "label": y} for y in (1.0, "a")],
            "label: some are strings, others numbers",
        ),
    ],
)
def test_mistakes_in_datasets(dataset, message) -> None:
    with pytest.raises(ImderError, match=message):
        Corpus.from_dataset(dataset)
