from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imder.data.corpus import Ragged
from imder.data.store import write_store
from imder.evaluation.evaluate import evaluate
from imder.inference.predict import predict
from imder.media.predictor import Predictor
from imder.rows import Rows
from imder.types import ImderError
from tiny_models import ABSENT, CLASSES, Summing, sums, tiny_corpus


def test_regression_spread_is_that_over_recoveries() -> None:
    corpus = tiny_corpus(absent=ABSENT)
    rows = predict(Summing(corpus.spec), corpus, samples=8, seed=1, batch_size=2)
    assert [r["id"] for r in rows] == list(corpus["test"].ids)
    assert [r["available"] for r in rows][:3] == ["language+audio", "language+vision+audio", "vision"]
    assert list(rows[0]) == ["id", "available", "missing", "true_label", "text", "prediction", "std", "q05", "q95"]
    missing = np.array([1, 0, 2, 0, 1])
    draws = sums(corpus) + 2 * np.linspace(-1, 2, 8)[:, None] * missing
    for key, expected in (
        ("prediction", draws.mean(0)),
        ("std", draws.std(0, ddof=1)),
        ("q05", np.quantile(draws, 0.05, axis=0)),
        ("q95", np.quantile(draws, 0.95, axis=0)),
    ):
        assert [r[key] for r in rows] == pytest.approx(expected, abs=1e-5), key
    single = predict(Summing(corpus.spec), corpus, samples=1)
    assert all(r["std"] == 0 and r["q05"] == r["q95"] == r["prediction"] for r in single)


def test_classification_has_a_probability_for_each_class() -> None:
    corpus = tiny_corpus("classification", absent=ABSENT)
    rows = predict(Summing(corpus.spec), corpus)
    first = ["id", "available", "missing", "true_label", "text"]
    assert list(rows[0]) == [*first, "label", "p_sad", "p_glad", "p_mad", "entropy"]
    assert [row["true_label"] for row in rows] == [CLASSES[i] for i in corpus["test"].labels]
    for row in rows:
        p = np.array([row[f"p_{c}"] for c in CLASSES])
        assert p.sum() == pytest.approx(1)
        assert row["label"] == CLASSES[p.argmax()]
        assert row["entropy"] == pytest.approx(-(p * np.log(p)).sum())


def test_labels_are_not_needed_and_not_read() -> None:
    corpus = tiny_corpus("classification")
    model = Summing(corpus.spec)
    rows = predict(model, corpus)
    bare = replace(corpus["test"], labels=None)
    unknown = [{name: value for name, value in row.items() if name != "true_label"} for row in rows]
    assert predict(model, bare) == unknown
    strange = replace(corpus, spec=replace(corpus.spec, classes=("x", "y", "z")))
    found = predict(model, strange)
    assert [row.pop("true_label") for row in found] == ["xyz"[i] for i in corpus["test"].labels]
    assert found == unknown


def test_a_label_that_is_missing_is_none() -> None:
    corpus = tiny_corpus()
    labels = corpus["test"].labels.copy()
    labels[2] = np.nan
    rows = predict(Summing(corpus.spec), replace(corpus["test"], labels=labels, texts=None))
    assert [row["true_label"] for row in rows][1:4] == [float(labels[1]), None, float(labels[3])]
    assert "text" not in rows.columns


def test_which_split() -> None:
    corpus = tiny_corpus()
    model = Summing(corpus.spec)
    assert len(predict(model, corpus)) == 5
    assert len(predict(model, corpus, "train")) == 7
    only = replace(corpus, splits={"all": corpus["train"]})
    assert len(predict(model, only)) == 7
    with pytest.raises(ImderError, match="no split 'valid'"):
        predict(model, corpus, "valid")
    with pytest.raises(ImderError, match="no split 'test'"):
        predict(model, replace(corpus, splits={"train": corpus["train"], "valid": corpus["test"]}))
    with pytest.raises(ImderError, match="a split was given"):
        predict(model, corpus["test"], "test")


def test_mistakes_are_named() -> None:
    corpus = tiny_corpus()
    model = Summing(corpus.spec)
    for mistake, message in (
        ({"samples": 0}, "at least one recovery"),
        ({"samples": 1.5}, "samples: an integer is needed, got 1.5"),
        ({"seed": -1}, "seed: must not be negative"),
        ({"batch_size": 0}, "batch_size: at least 1"),
        ({"level": 2}, "between 0 and 1"),
        ({"level": "high"}, "level: a number"),
    ):
        with pytest.raises(ImderError, match=message):
            predict(model, corpus, **mistake)
    with pytest.raises(ImderError, match="a model or the folder of a run is needed, got NoneType"):
        predict(None, corpus)  # type: ignore[arg-type]
    with pytest.raises(ImderError, match="a Corpus or the path of one is needed, got list"):
        predict(model, [1])  # type: ignore[arg-type]
    empty = {k: Ragged(r.values[:0], np.zeros(6, np.int64)) for k, r in corpus["test"].features.items()}
    with pytest.raises(ImderError, match="'s2-0' has no modality"):
        predict(model, replace(corpus["test"], features=empty))
    with pytest.raises(ImderError, match="split 'test': there are no samples"):
        predict(model, replace(corpus, splits={"test": corpus["test"][:0]}))
    other = {**corpus["test"].features, "gaze": corpus["test"].features["audio"]}
    with pytest.raises(ImderError, match="gaze"):
        predict(model, replace(corpus["test"], features=other))


def test_a_prediction_is_a_number_or_an_error() -> None:
    corpus = tiny_corpus()
    with pytest.raises(ImderError, match="its prediction isn't finite"):
        predict(_Scaled(corpus.spec), corpus)
    with pytest.raises(ImderError, match="its prediction isn't finite"):
        evaluate(_Scaled(corpus.spec), corpus, rates=(0.0,), draws=1)


class _Scaled(Summing):
    """`Summing`, whose sums overflow."""

    def _sums(self, batch):
        return super()._sums(batch) * 1e30 * 1e30


def test_rows_are_printed_as_a_table() -> None:
    corpus = tiny_corpus(test=30)
    rows = predict(Summing(corpus.spec), corpus)
    lines = str(rows).splitlines()
    assert lines[0].split() == list(rows.columns)
    assert lines[1].startswith("s2-0  language+vision+audio")
    assert lines[-1] == "... 30 rows"
    assert len(lines) == 12
    assert max(map(len, lines)) <= 120
    wide = str(Rows({f"column_{i}": "word " * 40 for i in range(9)} for _ in range(2))).splitlines()
    assert wide[-1] == "more columns: column_4, column_5, column_6, column_7, column_8"
    assert max(map(len, wide)) <= 120
    assert str(rows[:2]).count("\n") == 2
    assert repr(Rows()) == "no rows"
    assert rows == list(rows)


def test_a_modality_that_the_corpus_lacks_altogether() -> None:
    corpus = tiny_corpus()
    features = {k: corpus["test"].features[k] for k in ("audio", "language")}
    rows = predict(Summing(corpus.spec), replace(corpus["test"], features=features))
    assert {r["available"] for r in rows} == {"language+audio"}


def test_predictor_takes_corpora_splits_and_files(tmp_path) -> None:
    corpus = tiny_corpus(absent=ABSENT)
    predictor = Predictor(Summing(corpus.spec))
    assert repr(predictor) == (
        "Predictor('this summing model': summing, regression from language, vision, audio, on cpu)"
    )
    rows = predictor.predict(corpus)
    assert predictor.predict(corpus["test"]) == rows
    write_store(corpus, tmp_path / "store")
    assert predictor.predict(tmp_path / "store", "test") == rows
    with pytest.raises(ImderError):
        Predictor(tmp_path)
    assert predictor.predict(corpus, available="audio") == predict(predictor.model, corpus, available="audio")
