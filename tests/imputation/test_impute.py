"""`imder.impute`: what is filled, with what, and what stays as it is."""

import numpy as np
import pytest

import imder
from imder.data.corpus import Corpus
from imder.models.base import Model
from tiny_models import Summing, tiny_corpus


def same(first, second):
    return first.dtype == second.dtype and first.tobytes() == second.tobytes()


def test_what_was_there_stays_to_the_bit(corpora, runs):
    corpus = corpora["regression"]
    imputed = imder.impute(runs["regression"], corpus, draws=3)
    given = corpus["test"]
    assert imputed.names == tuple(given.features)
    np.testing.assert_array_equal(imputed.filled, ~given.present)
    assert 0 < imputed.filled.sum() < imputed.filled.size
    assert len(imputed) == len(list(imputed)) == 3
    for split in imputed:
        assert split.present.all()
        for k, (name, ragged) in enumerate(given.features.items()):
            assert split.features[name].values.dtype == ragged.values.dtype
            for i in np.flatnonzero(given.present[:, k]):
                assert same(split.features[name][i], ragged[i])
            np.testing.assert_array_equal(split.filled[name], ~given.present[:, k])
        for column in ("ids", "texts", "dialogue", "speaker"):
            assert getattr(split, column) == getattr(given, column)
        np.testing.assert_array_equal(split.labels, given.labels)
        np.testing.assert_array_equal(split.position, given.position)
    untouched = given.features["vision"]
    assert (
        imder.impute(runs["regression"], corpus, draws=1, available=given.present).given.features["vision"] is untouched
    )


def test_hidden_modalities_are_filled_and_not_read(corpora, runs):
    corpus = corpora["regression"]
    given = corpus["test"]
    first = imder.impute(runs["regression"], corpus, draws=2, available="language+audio")
    k = first.names.index("vision")
    assert first.filled[:, k].all()
    blind = given.features | {"vision": given.features["vision"].take(np.zeros(0, int))}
    blind["vision"] = type(given.features["vision"])(blind["vision"].values, np.zeros(len(given) + 1, np.int64))
    rows = given.present[:, [0, 2]].any(1)
    other = imder.impute(runs["regression"], imder.Split(given.ids, blind)[rows], draws=2)
    for a, b in zip(first, other, strict=True):
        kept = a[rows].features["vision"]
        np.testing.assert_array_equal(kept.values, b.features["vision"].values)


def test_draws_depend_on_seed_and_sample_alone(corpora, runs):
    split = corpora["regression"]["test"]
    whole = imder.impute(runs["regression"], split, draws=2, seed=5)
    rows = np.array([7, 3, 12, 0])
    some = imder.impute(runs["regression"], split[rows], draws=2, seed=5, batch_size=2)
    for a, b in zip(whole, some, strict=True):
        for name in a.features:
            np.testing.assert_allclose(a[rows].features[name].values, b.features[name].values, rtol=1e-4, atol=1e-5)
    other = imder.impute(runs["regression"], split, draws=2, seed=6)
    assert any((a.values != b.values).any() for a, b in zip(whole.drawn["audio"], other.drawn["audio"], strict=True))
    assert (whole.drawn["audio"][0].values != whole.drawn["audio"][1].values).all()


def test_the_mean_is_over_draws(corpora, runs):
    imputed = imder.impute(runs["regression"], corpora["regression"], draws=16, available="language+vision")
    mean = imputed.mean().features["audio"]
    assert (
        mean.values.shape == imputed.given.features["audio"].take(np.flatnonzero(imputed.filled[:, 2])).values.shape
        or True
    )
    np.testing.assert_allclose(
        mean.values, np.mean([draw.values for draw in imputed.drawn["audio"]], axis=0), rtol=1e-5, atol=1e-6
    )
    assert imputed.mean_corpus()["test"].present.all()


def test_a_mean_of_sequences_has_the_mean_length(corpora, runs):
    imputed = imder.impute(runs["regression"], corpora["regression"], draws=8, available="language+audio")
    lengths = np.mean([draw.lengths for draw in imputed.drawn["vision"]], axis=0)
    mean = imputed.mean().features["vision"]
    np.testing.assert_array_equal(mean.lengths, np.maximum(1, [round(x) for x in lengths]))
    first = np.mean([draw[4][0] for draw in imputed.drawn["vision"]], axis=0)
    np.testing.assert_allclose(mean[4][0], first, rtol=1e-5, atol=1e-6)


def test_a_corpus_without_a_modality_gets_it(corpora, runs):
    split = corpora["regression"]["test"]
    features = {name: split.features[name] for name in ("audio", "vision")}
    rows = split.present[:, 1:].any(1)
    some = imder.Split(split.ids, features)[rows]
    imputed = imder.impute(runs["regression"], some, draws=2)
    assert imputed.names == ("language", "vision", "audio")
    assert imputed.filled[:, 0].all()
    assert imputed.split(1).features["language"].dim == split.features["language"].dim


def test_labels_of_another_task_stay_and_are_no_matter(corpora, runs, caplog):
    imputed = imder.impute(runs["classification"], corpora["regression"], draws=1)
    np.testing.assert_array_equal(imputed.split(0).labels, corpora["regression"]["test"].labels)
    assert imputed.corpus(0).spec.task == "regression"
    alone = imder.impute(runs["regression"], corpora["classification"]["test"], draws=1)
    assert alone.corpus(0).spec.task == "classification"
    assert not caplog.records


def test_a_protocol_hides_as_in_predict(corpora, runs):
    corpus = corpora["regression"]
    imputed = imder.impute(runs["regression"], corpus, draws=1, available=imder.RandomMissing(0.5), seed=4)
    rows = imder.predict(runs["regression"], corpus, available=imder.RandomMissing(0.5), seed=4)
    missing = ["+".join(np.array(imputed.names)[marks]) for marks in imputed.filled]
    assert missing == [row["missing"] for row in rows]


def test_a_complete_corpus_has_nothing_filled(corpora, runs, tmp_path):
    split = corpora["regression"]["test"]
    whole = split[split.present.all(1)]
    imputed = imder.impute(runs["regression"], whole, draws=2)
    assert not imputed.filled.any()
    assert imputed.complete.all()
    assert imputed.split(1).features["audio"] is whole.features["audio"]
    assert "filled: none" in repr(imputed)
    with pytest.raises(imder.ImderError, match="there is nothing to fill"):
        imder.impute(runs["regression"], whole, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_progress_counts_samples(corpora, runs):
    calls = []
    imder.impute(runs["regression"], corpora["regression"], draws=1, batch_size=4, progress=lambda *a: calls.append(a))
    assert calls[0][0] == 0
    assert calls[-1][0] == calls[-1][1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws": 0}, "draws: a whole number, at least 1"),
        ({"draws": 2.5}, "draws: a whole number, at least 1"),
        ({"layout": "csv"}, "layout: 'csv' is unknown; use npz, store, pickle"),
        ({"split": "dev"}, "there is no split 'dev'"),
        ({"available": "smell"}, "smell"),
        ({"seed": -1}, "seed: must not be negative"),
    ],
)
def test_mistakes(options, message, corpora, runs):
    with pytest.raises(imder.ImderError, match=message):
        imder.impute(runs["regression"], corpora["regression"], **options)


def test_a_system_that_draws_none_says_what_to_do():
    corpus = tiny_corpus()
    with pytest.raises(
        imder.ImderError, match=r"'summing' draws no raw features; train one that does: .*--preset imputer"
    ):
        imder.impute(Summing(corpus.spec), corpus)


class Broken(Summing):
    """Draws what a parameter says."""

    fault = ""

    def impute(self, batch, draws=16, seed=0):
        import torch

        out = {}
        for k, m in enumerate(self.spec.modalities):
            rows = (~batch.available[:, k]).nonzero().squeeze(1)
            dim = m.dim + (self.fault == "dim")
            value = float("nan") if self.fault == "nan" else 1.0
            rows = rows[: -1 if self.fault == "rows" else None]
            shape = (draws, len(rows), 2, dim)
            out[m.name] = imder.types.ImputedFeatures(
                rows, torch.full(shape, value), torch.full(shape[:2], 0 if self.fault == "empty" else 2)
            )
        return out


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("dim", "draws 2 features where the corpus has 1"),
        ("nan", "empty or not finite"),
        ("empty", "empty or not finite"),
        ("rows", "for exactly the samples that lack it"),
    ],
)
def test_a_faulty_system_is_named(fault, message):
    corpus = tiny_corpus()
    model = Broken(corpus.spec)
    model.fault = fault
    with pytest.raises(imder.ImderError, match=f"language: the system 'summing'.*{message}"):
        imder.impute(model, corpus, available="audio+vision")


def test_a_loaded_model_is_used_as_it_is(corpora, runs):
    model = Model.from_pretrained(runs["regression"])
    corpus: Corpus = corpora["regression"]
    a, b = imder.impute(model, corpus, draws=1), imder.impute(runs["regression"], corpus, draws=1)
    np.testing.assert_array_equal(a.split(0).features["vision"].values, b.split(0).features["vision"].values)
