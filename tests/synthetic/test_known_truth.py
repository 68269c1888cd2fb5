"""The known-truth corpus: seeds, tasks, shapes and mistakes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gaussian_algebra import mask
from imder.synthetic.known_truth import CLASSES, KnownTruth
from imder.types import ImderError


def test_corpus_is_determined_by_its_seed_and_well_formed(truth):
    a, b, other = (truth.corpus(60, 20, 30, seed=s) for s in (0, 0, 1))
    for name in ("train", "valid", "test"):
        np.testing.assert_array_equal(a[name].features["audio"].values, b[name].features["audio"].values)
        np.testing.assert_array_equal(a[name].labels, b[name].labels)
        assert a[name].ids == b[name].ids
        assert a[name].texts == b[name].texts
        assert not np.array_equal(a[name].labels, other[name].labels)
    assert not np.array_equal(a["train"].labels[:20], a["valid"].labels)
    assert len({i for s in a.splits.values() for i in s.ids}) == 110
    train = truth.corpus(400, 1, 1)["train"]
    assert train.labels.dtype == np.float32
    assert abs(train.labels).max() <= 3
    assert (abs(train.labels) == 3).mean() > 0.01
    sizes = np.unique(train.dialogue, return_counts=True)[1]
    assert sizes.max() <= 8
    assert np.sort(sizes)[1] >= 4
    for i, d, p, s in zip(train.ids, train.dialogue, train.position, train.speaker, strict=True):
        assert i == f"{d}$_${p}"
        assert s[:-1] == d
    assert train.present.all()
    for m in truth.modalities:
        lengths = train.features[m.name].lengths
        assert (lengths.min(), lengths.max()) == m.lengths
        assert train.features[m.name].values.dtype == np.float32


def test_tasks_share_features_and_latents(truth):
    regression, classification = truth.corpus(200, 10, 10), truth.corpus(200, 10, 10, task="classification")
    assert classification.spec.classes == CLASSES
    assert classification.spec.outputs == 3
    np.testing.assert_array_equal(
        regression["train"].features["vision"].values, classification["train"].features["vision"].values
    )
    y = regression["train"].labels
    assert classification["train"].labels.dtype == np.int64
    np.testing.assert_array_equal(classification["train"].labels, np.searchsorted((-0.5, 0.5), y))
    np.testing.assert_array_equal(np.clip(truth.latents(200, (0, 1))[2], -3, 3).astype(np.float32), y)


def test_other_dims_lengths_and_one_frame():
    truth = KnownTruth.standard(3, dims={"language": 5}, lengths={"language": (1, 1), "audio": (1, 2)})
    corpus = truth.corpus(50, 10, 20)
    assert [(m.dim, m.length) for m in corpus.spec.modalities] == [(5, 1), (12, 24), (10, 2)]
    everything = truth.label_posterior(corpus["train"], mask(50, (0, 1, 2)))
    assert abs(everything.median() - corpus["train"].labels).mean() < 1


def test_mistakes_are_named(truth):
    split = truth.sample(4, seed=1)
    with pytest.raises(ImderError, match="audio is available in some rows"):
        truth.conditional(split, mask(4, (2,)), "audio")
    with pytest.raises(ImderError, match="language: a requested row has no frames"):
        truth.conditional(split, mask(4, (2,)), "language", np.array([3, 0, 2, 2]))
    with pytest.raises(ImderError, match="label_weights has shape"):
        replace(truth, label_weights=np.ones(5))
    with pytest.raises(ImderError, match="sum to 1"):
        replace(truth, weights=np.full(4, 0.3))
    with pytest.raises(ImderError, match="audio needs offsets"):
        replace(truth, modalities=(replace(truth["audio"], offsets=np.zeros((3, 10))),))
    operators = {m.name: (lambda length: (np.ones((2, 3)), np.zeros(2))) for m in truth.modalities}
    lengths = {k: r.lengths for k, r in split.features.items()}
    with pytest.raises(ImderError, match="the encoder takes 3"):
        truth.encoding_posterior(operators, {"audio": np.zeros((4, 2))}, lengths, mask(4, (2,)), "language")
