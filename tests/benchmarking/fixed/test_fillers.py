"""What fillers put in place of missing modalities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imder.benchmarking.fixed.fillers import FILLERS
from imder.benchmarking.fixed.fillers.base import FillerLeftOut
from imder.benchmarking.fixed.fillers.gaussian import LinearGaussian
from imder.benchmarking.fixed.fillers.tables import MOST_COLUMNS
from imder.benchmarking.fixed.fit_settings import FitSettings
from imder.data.corpus import Corpus
from imder.imputation.pooling import pooled

CLOSED_FORM = [name for name in FILLERS if not name.startswith("imputer")]


def fillings(name, corpus, available, draws=3, seed=0, rows=None):
    filler = FILLERS[name].make()
    filler.fit(corpus["train"], corpus["valid"], FitSettings(corpus.spec, Path()))
    test = corpus["test"] if rows is None else corpus["test"].take(rows)
    return list(filler.fill(test, available, draws, seed))


def without_audio(corpus, every=True):
    available = corpus["test"].present.copy()
    available[:: 1 if every else 2, 1] = False
    return available


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_available_features_stay_and_missing_ones_are_filled(classes, name):
    available = without_audio(classes, every=False)
    filled = fillings(name, classes, available)
    test = classes["test"]
    assert len(filled) == (3 if FILLERS[name].draws else 1)
    for split in filled:
        assert split.present.all()
        assert split.ids == test.ids
        np.testing.assert_array_equal(split.features["vision"].values, test.features["vision"].values)
        for i in np.flatnonzero(available[:, 1]):
            np.testing.assert_array_equal(split.features["audio"][i], test.features["audio"][i])
        assert np.isfinite(split.features["audio"].values).all()


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_what_is_missing_is_not_read(classes, name):
    test = classes["test"]
    broken = dict(test.features)
    broken["audio"] = type(broken["audio"])(np.full_like(broken["audio"].values, 1e6), broken["audio"].offsets)
    other = Corpus(
        classes.name, classes.spec, dict(classes.splits) | {"test": type(test)(test.ids, broken, test.labels)}
    )
    mine, theirs = (fillings(name, c, without_audio(c))[0].features["audio"] for c in (classes, other))
    np.testing.assert_array_equal(mine.values, theirs.values)


@pytest.mark.parametrize("name", [name for name in CLOSED_FORM if FILLERS[name].draws])
def test_draws_differ_and_seeds_repeat_them(classes, name):
    available = without_audio(classes)
    first, again = (fillings(name, classes, available) for _ in range(2))
    np.testing.assert_array_equal(first[1].features["audio"].values, again[1].features["audio"].values)
    assert not np.array_equal(first[0].features["audio"][0][:1], first[1].features["audio"][0][:1])
    other = fillings(name, classes, available, seed=1)
    assert not np.array_equal(first[0].features["audio"][0][:1], other[0].features["audio"][0][:1])


def test_a_gaussian_draw_belongs_to_the_clip(classes):
    available = without_audio(classes)
    rows = np.arange(10)
    whole, part = (
        fillings("linear-gaussian", classes, a, rows=r)[2] for a, r in ((available, None), (available[rows], rows))
    )
    for i in rows:
        np.testing.assert_allclose(whole.features["audio"][i], part.features["audio"][i], atol=1e-4)


def test_constants_are_zero_or_the_mean_at_the_median_length(classes):
    train = classes["train"].features["audio"]
    for name, frame in (("zero", np.zeros(5)), ("mean", train.values.mean(0))):
        (split,) = fillings(name, classes, without_audio(classes))
        audio = split.features["audio"]
        assert set(audio.lengths.tolist()) == {int(np.median(train.lengths))}
        np.testing.assert_allclose(audio[0][0], frame, atol=1e-5)


def test_informed_fillers_are_closer_than_the_mean_and_draws_spread_around_the_truth(classes):
    truth = pooled(classes["test"], classes.spec)[:, 5:10]

    def means(name, draws=1):
        filled = fillings(name, classes, without_audio(classes), draws)
        return np.stack([pooled(split, classes.spec)[:, 5:10] for split in filled])

    plain = ((means("mean")[0] - truth) ** 2).mean()
    for name in ("neighbours", "least-squares", "least-squares:held-out"):
        assert ((means(name)[0] - truth) ** 2).mean() < 0.5 * plain, name
    draws = means("linear-gaussian", 40)
    assert ((draws.mean(0) - truth) ** 2).mean() < 0.5 * plain
    error, variance = ((draws.mean(0) - truth) ** 2).mean(), draws.var(0, ddof=1).mean()
    assert 0.6 < error / variance < 1.6


def test_a_clip_of_nothing_gets_the_training_mean(classes):
    available = np.zeros_like(classes["test"].present)
    (split,) = fillings("least-squares", classes, available)
    mean = classes["train"].features["vision"].values.mean(0)
    np.testing.assert_allclose(split.features["vision"].values, np.tile(mean, (len(split), 1)), atol=0.15)


def test_linear_gaussian_recovers_a_known_conditional():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 2))
    weight, root = np.array([[1.0, -0.5], [0.0, 2.0]]), np.array([[0.5, 0.0], [0.3, 0.2]])
    y = 3.0 + x @ weight + rng.normal(size=(4000, 2)) @ root.T
    fit = LinearGaussian.fit(x, y, [f"g{i % 40}" for i in range(4000)], (1e-4, 10.0))
    assert fit.penalty == 1e-4
    np.testing.assert_allclose(fit.weight, weight, atol=0.05)
    np.testing.assert_allclose(fit.mean(np.zeros((1, 2))), [[3.0, 3.0]], atol=0.05)
    np.testing.assert_allclose(fit.factor @ fit.factor.T, root @ root.T, atol=0.03)


def test_chained_equations_are_left_out_for_wide_codes():
    rng = np.random.default_rng(0)
    wide = {k: rng.normal(size=(20, 128)).astype(np.float32) for k in ("a", "b", "c", "d")}
    parts = {name: wide | {"labels": rng.normal(size=20)} for name in ("train", "valid", "test")}
    corpus = Corpus.from_arrays(parts)
    with pytest.raises(FillerLeftOut, match=f"512 columns of codes take too long; at most {MOST_COLUMNS}"):
        fillings("chained", corpus, corpus["test"].present)
