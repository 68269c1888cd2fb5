from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imder.data.corpus import Ragged
from imder.data.store import read_store, write_store
from imder.inference.predict import predictions, recover_to_store
from imder.media.predictor import Predictor
from imder.types import ImderError
from tiny_models import CLASSES, NAMES, Summing, tiny_corpus

ABSENT = ((0, 1), (2, 0), (2, 2), (4, 1))


def sums(corpus, name="test") -> np.ndarray:
    """What the model adds up, by hand."""
    split = corpus[name]
    return np.array([sum(r[i].mean() for r in split.features.values() if len(r[i])) for i in range(len(split))])


def test_regression_spread_is_that_over_recoveries() -> None:
    corpus = tiny_corpus(absent=ABSENT)
    rows = predictions(Summing(corpus.spec), corpus, samples=8, seed=1, batch_size=2)
    assert [r["id"] for r in rows] == list(corpus["test"].ids)
    assert [r["available"] for r in rows][:3] == ["language+audio", "language+vision+audio", "vision"]
    assert list(rows[0]) == ["id", "available", "prediction", "std", "q05", "q95"]
    missing = np.array([1, 0, 2, 0, 1])
    draws = sums(corpus) + 2 * np.linspace(-1, 2, 8)[:, None] * missing
    for key, expected in (
        ("prediction", draws.mean(0)),
        ("std", draws.std(0, ddof=1)),
        ("q05", np.quantile(draws, 0.05, axis=0)),
        ("q95", np.quantile(draws, 0.95, axis=0)),
    ):
        assert [r[key] for r in rows] == pytest.approx(expected, abs=1e-5), key
    single = predictions(Summing(corpus.spec), corpus, samples=1)
    assert all(r["std"] == 0 and r["q05"] == r["q95"] == r["prediction"] for r in single)


def test_classification_has_a_probability_for_each_class() -> None:
    corpus = tiny_corpus("classification", absent=ABSENT)
    rows = predictions(Summing(corpus.spec), corpus)
    assert list(rows[0]) == ["id", "available", "label", "p_sad", "p_glad", "p_mad", "entropy"]
    for row in rows:
        p = np.array([row[f"p_{c}"] for c in CLASSES])
        assert p.sum() == pytest.approx(1)
        assert row["label"] == CLASSES[p.argmax()]
        assert row["entropy"] == pytest.approx(-(p * np.log(p)).sum())


def test_labels_are_not_needed_and_not_read() -> None:
    corpus = tiny_corpus("classification")
    model = Summing(corpus.spec)
    rows = predictions(model, corpus)
    bare = replace(corpus["test"], labels=None)
    assert predictions(model, bare) == rows
    strange = replace(corpus, spec=replace(corpus.spec, classes=("x", "y", "z")))
    assert predictions(model, strange) == rows


def test_which_split() -> None:
    corpus = tiny_corpus()
    model = Summing(corpus.spec)
    assert len(predictions(model, corpus)) == 5
    assert len(predictions(model, corpus, "train")) == 7
    only = replace(corpus, splits={"all": corpus["train"]})
    assert len(predictions(model, only)) == 7
    with pytest.raises(ImderError, match="no split 'valid'"):
        predictions(model, corpus, "valid")
    with pytest.raises(ImderError, match="no split 'test'"):
        predictions(model, replace(corpus, splits={"train": corpus["train"], "valid": corpus["test"]}))
    with pytest.raises(ImderError, match="a split was given"):
        predictions(model, corpus["test"], "test")


def test_mistakes_are_named() -> None:
    corpus = tiny_corpus()
    model = Summing(corpus.spec)
    with pytest.raises(ImderError, match="at least one recovery"):
        predictions(model, corpus, samples=0)
    empty = {k: Ragged(r.values[:0], np.zeros(6, np.int64)) for k, r in corpus["test"].features.items()}
    with pytest.raises(ImderError, match="'s2-0' has no modality"):
        predictions(model, replace(corpus["test"], features=empty))
    other = {**corpus["test"].features, "gaze": corpus["test"].features["audio"]}
    with pytest.raises(ImderError, match="gaze"):
        predictions(model, replace(corpus["test"], features=other))


def test_a_modality_that_the_corpus_lacks_altogether() -> None:
    corpus = tiny_corpus()
    features = {k: corpus["test"].features[k] for k in ("audio", "language")}
    rows = predictions(Summing(corpus.spec), replace(corpus["test"], features=features))
    assert {r["available"] for r in rows} == {"language+audio"}


def test_predictor_takes_corpora_splits_and_files(tmp_path) -> None:
    corpus = tiny_corpus(absent=ABSENT)
    predictor = Predictor(Summing(corpus.spec))
    rows = predictor.predict(corpus)
    assert predictor.predict(corpus["test"]) == rows
    write_store(corpus, tmp_path / "store")
    assert predictor.predict(tmp_path / "store", "test") == rows
    with pytest.raises(ImderError):
        Predictor(tmp_path)


@pytest.mark.parametrize("samples", [1, 3])
def test_recovered_encodings_read_back(tmp_path, samples: int) -> None:
    corpus = tiny_corpus(absent=ABSENT)
    recover_to_store(Summing(corpus.spec), corpus, tmp_path / "out", samples=samples, batch_size=2)
    back = read_store(tmp_path / "out")
    split = back["test"]
    lacking = [0, 2, 4]
    ids = [corpus["test"].ids[i] for i in lacking]
    assert split.ids == tuple(ids if samples == 1 else [f"{i}#{d}" for i in ids for d in range(samples)])
    assert set(back.spec.names) == {f"{m}_{face}" for m in NAMES for face in ("sampled", "refined")}
    assert {m.name: (m.dim, m.length) for m in back.spec.modalities}["vision_sampled"] == (2, 3)
    expected = sums(corpus)
    for place in range(len(split)):
        row, draw = lacking[place // samples], place % samples
        for k, name in enumerate(NAMES):
            steps = (3 if name == "vision" else 1) if (row, k) in ABSENT else 0
            value = split.features[f"{name}_sampled"][place]
            assert value.shape == (steps, 2)
            assert value == pytest.approx(np.tile([expected[row], draw], (steps, 1)), abs=1e-5)
            assert split.features[f"{name}_refined"][place] == pytest.approx(10 * value, abs=1e-5)
        assert split.labels[place] == corpus["test"].labels[row]
        assert split.texts[place] == corpus["test"].texts[row]


def test_nothing_to_recover(tmp_path) -> None:
    corpus = tiny_corpus()
    with pytest.raises(ImderError, match="nothing to recover"):
        recover_to_store(Summing(corpus.spec), corpus, tmp_path / "out")
    assert not (tmp_path / "out").exists()
