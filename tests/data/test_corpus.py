"""Corpora, splits and samples as a notebook meets them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imder.data.corpus import Corpus, Ragged, Sample, Split, spec_of
from imder.data.formats.load import load_corpus
from imder.types import ImderError
from tiny_models import ABSENT, tiny_corpus


def test_a_sample_holds_what_the_split_holds() -> None:
    corpus = tiny_corpus(absent=ABSENT)
    split = replace(
        corpus["test"],
        dialogue=("a", "a", "b", "b", "b"),
        position=np.arange(5),
        speaker=("x", "y", "x", "y", "x"),
    )
    sample = split[2]
    assert isinstance(sample, Sample)
    assert (sample.id, sample.text, sample.dialogue, sample.position, sample.speaker) == ("s2-2", "c", "b", 2, "x")
    assert sample.label == pytest.approx(float(split.labels[2]))
    assert list(sample.features) == ["vision"]
    np.testing.assert_array_equal(sample.features["vision"], split.features["vision"][2])
    assert split[-1].id == split[np.int64(4)].id == "s2-4"
    assert [s.id for s in split] == list(split.ids)
    assert len(list(split)) == len(split) == 5
    assert repr(sample).startswith("Sample('s2-2': vision (")
    for row in (5, -6):
        with pytest.raises(IndexError, match=f"no row {row} in a split of 5 samples: rows are 0 to 4"):
            split[row]


def test_an_unlabelled_sample_has_no_label() -> None:
    split = tiny_corpus("classification")["test"]
    assert [s.label for s in split] == split.labels.tolist()
    assert all(isinstance(s.label, int) for s in split)
    labels = split.labels.copy()
    labels[1] = -1
    assert replace(split, labels=labels)[1].label is None
    assert replace(split, labels=None)[1].label is None


def test_some_rows_are_a_split() -> None:
    split = tiny_corpus()["test"]
    for rows in (slice(1, 4), [1, 2, 3], np.array([1, 2, 3]), np.array([False, True, True, True, False])):
        some = split[rows]
        assert isinstance(some, Split)
        assert some.ids == split.ids[1:4]
    with pytest.raises(ImderError, match="a split of 5 samples has no rows"):
        split[[9]]


def test_a_corpus_is_a_mapping_of_splits() -> None:
    corpus = tiny_corpus()
    assert list(corpus) == ["train", "test"]
    assert len(corpus) == 2
    assert "test" in corpus
    assert "valid" not in corpus
    assert list(corpus.keys()) == list(dict(corpus)) == ["train", "test"]
    assert dict(corpus.items())["test"] is corpus.get("test") is corpus["test"]
    assert corpus.get("valid") is None
    with pytest.raises(ImderError, match=r"no split 3; choose one of: train, test$"):
        corpus[3]  # type: ignore[index]


def test_a_corpus_is_saved_as_a_store(tmp_path) -> None:
    corpus = tiny_corpus()
    corpus.save(tmp_path / "store", dtype="float16")
    assert load_corpus(tmp_path / "store").spec == corpus.spec
    assert load_corpus(tmp_path / "store")["test"].features["audio"].values.dtype == np.float16


def test_representations_are_short_and_useful() -> None:
    corpus = tiny_corpus("classification", absent=ABSENT)
    text = repr(corpus)
    assert text.splitlines()[0] == "Corpus 'tiny': classification of sad, glad, mad"
    assert "language 1 x 4, vision 2 x 4, audio 3 x 4" in text
    assert "test   5 samples, 5 labelled; present: language 80 %, vision 60 %, audio 80 %; texts" in text
    assert repr(corpus["train"]) == (
        "Split(7 samples, 7 labelled; present: language 100 %, vision 100 %, audio 100 %; texts)"
    )
    many = {f"m{i}": Ragged.from_list([np.zeros((1, 2), np.float32)] * 3, 2) for i in range(30)}
    splits = {f"s{i}": Split(("a", "b", "c"), many) for i in range(40)}
    big = Corpus("big", spec_of(splits, "regression"), splits)
    assert len(repr(big).splitlines()) <= 10
    assert max(map(len, repr(big).splitlines())) < 200
