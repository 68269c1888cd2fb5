"""Corpora as trained models read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from corpus_files import fields, save, without
from imder.data.compatible import check_compatible
from imder.data.formats.load import load_corpus
from imder.data.store import write_store
from imder.types import ImderError, Modality, Spec

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
    with pytest.raises(ImderError, match=r"a\.pkl \[all\]: audio: 3 features; the model expects 7"):
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
