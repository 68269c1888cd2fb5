"""Masks and batches of training and validation."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from imder.data.corpus import Corpus, Ragged
from imder.training.config import PhaseConfig, TrainingConfig
from imder.training.masks import (
    natural_loader,
    permanent_mask,
    training_loader,
    validation_loader,
)
from imder.training.train import train
from imder.types import ImderError
from small_training import CPU, assert_same_weights, reached, tiny, weights


def spoiled(split, hidden, value):
    """The split with another value in every frame of the cells marked."""
    features = {}
    for k, (name, ragged) in enumerate(split.features.items()):
        values = ragged.values.copy()
        for row in np.flatnonzero(hidden[:, k]):
            values[ragged.offsets[row] : ragged.offsets[row + 1]] = value
        features[name] = Ragged(values, ragged.offsets)
    return replace(split, features=features)


def test_strict_training_uses_nothing_that_its_mask_drops(corpus, tmp_path):
    config = tiny(training__permanently_missing=True, training__missing_rate=0.4)
    hidden = ~permanent_mask(corpus["train"], config.training)
    assert hidden.any()
    assert not np.all(hidden, axis=1).any()
    other = {**corpus.splits, "train": spoiled(corpus["train"], hidden, 1e6)}
    train(corpus, tmp_path / "a", config=config, engine=CPU)
    train(Corpus("c", corpus.spec, other), tmp_path / "b", config=config, engine=CPU)
    assert_same_weights(weights(tmp_path / "a"), weights(tmp_path / "b"))
    train(Corpus("c", corpus.spec, other), tmp_path / "c", config=tiny(training__missing_rate=0.4), engine=CPU)
    assert not torch.equal(weights(tmp_path / "b")["fusion.head.weight"], weights(tmp_path / "c")["fusion.head.weight"])


@pytest.mark.parametrize("rate", ["any", "official", 0.0, 0.5])
def test_missing_rates(rate, corpus, tmp_path):
    config = tiny(training__missing_rate=rate, training__recovery={"missing": "rate"})
    train(corpus, tmp_path / "run", config=config, engine=CPU, max_epochs=1)
    assert reached(tmp_path / "run")["phases"]["recovery"]["epochs"] == 1


def test_strict_needs_a_number():
    with pytest.raises(ImderError, match="numeric missing_rate"):
        tiny(training__permanently_missing=True)


def rate(value, **more):
    return TrainingConfig(missing_rate=value, **more)


@pytest.mark.parametrize("missing", ["any", "every", "none", "rate"])
@pytest.mark.parametrize("all_patterns", [True, False])
@pytest.mark.parametrize("value", ["any", "official", 0.5])
def test_validation_masks_are_always_the_same(missing, all_patterns, value, corpus):
    phase = PhaseConfig(missing=missing)
    first = validation_loader(corpus["valid"], phase, rate(value), all_patterns=all_patterns)
    second = validation_loader(corpus["valid"], phase, rate(value, seed=9), all_patterns=all_patterns)
    assert np.array_equal(first.rows, second.rows)
    assert np.array_equal(first.available, second.available)
    assert first.available.any(1).all()
    if missing == "none":
        assert first.available.all()
        assert len(first.rows) == 24
    elif all_patterns and value != 0.5:  # a number wins over what the phase says
        assert len(first.rows) == 7 * 24
    else:
        assert len(first.rows) == 3 * 24


@pytest.mark.parametrize("value", ["any", "official", 0.5])
def test_training_masks_and_order_are_drawn_anew_each_epoch(value, corpus):
    split, phase = corpus["train"], PhaseConfig(batch_size=4)

    def masks(epoch, **more):
        made = training_loader(split, phase, rate(value, **more), epoch)
        order = np.argsort(made.rows)
        assert np.array_equal(made.rows[order], np.arange(len(split)))
        return made.rows, made.available[order]

    (rows, first), (other_rows, second) = masks(0), masks(1)
    assert not np.array_equal(rows, other_rows)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, masks(0, seed=1)[1])
    assert np.array_equal(first, masks(0)[1])


def test_strict_masks_are_drawn_once(corpus):
    training = rate(0.5, permanently_missing=True)
    kept = permanent_mask(corpus["train"], training)
    for epoch in (0, 1):
        fixed = training_loader(corpus["train"], PhaseConfig(missing="rate"), training, epoch)
        assert np.array_equal(fixed.available, kept[fixed.rows])
        drawn = training_loader(corpus["train"], PhaseConfig(missing="any"), training, epoch)
        assert not (drawn.available & ~kept[drawn.rows]).any()
    batch = next(iter(natural_loader(corpus["train"], training)))
    assert np.array_equal(batch.present.numpy(), kept[: len(batch)])
    for k, name in enumerate(corpus.spec.names):
        assert not batch.features[name][~batch.present[:, k]].any()


def test_processes_share_the_batches_of_one(corpus):
    split, training = corpus["train"], rate("any")
    whole = training_loader(split, PhaseConfig(batch_size=10), training, 3)
    parts = [training_loader(split, PhaseConfig(batch_size=5), training, 3, rank, 2) for rank in (0, 1)]
    assert len(whole) == len(parts[0]) == len(parts[1])
    for batch, first, second in zip(whole, *parts, strict=True):
        keys = torch.cat([first.keys, second.keys])
        order, expected = torch.argsort(keys), torch.argsort(batch.keys)
        assert torch.equal(keys[order], batch.keys[expected])
        available = torch.cat([first.available, second.available])
        assert torch.equal(available[order], batch.available[expected])
        labels = torch.cat([first.labels, second.labels])
        assert torch.equal(labels[order], batch.labels[expected])
    assert split.labelled.all()
