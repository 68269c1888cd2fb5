"""Pooled features of sequences."""

from __future__ import annotations

import numpy as np

from imder.benchmarking.fixed.pooling import pool, pool_corpus, pool_sequences, single_vectors
from imder.data.split import Ragged


def test_pooled_features_are_numpys_clip_by_clip():
    rng = np.random.default_rng(0)
    clips = [rng.normal(size=(length, 3)) for length in (4, 0, 1, 7, 0, 2)]
    pooled = pool_sequences(Ragged.from_list(clips, 3))
    for x, row in zip(clips, pooled, strict=True):
        if not len(x):
            expected = np.zeros(9)
        else:
            change = np.diff(x, axis=0).std(0) if len(x) > 1 else np.zeros(3)
            expected = np.concatenate([x.mean(0), x.std(0), change])
        np.testing.assert_allclose(row, expected, atol=1e-12)


def test_a_part_of_a_split_pools_as_before(classes):
    split = classes["train"]
    rows = np.array([5, 2, 9])
    whole, part = (pool(s, single_vectors(split)) for s in (split, split.take(rows)))
    for name in whole:
        np.testing.assert_allclose(part[name], whole[name][rows])


def test_single_vectors_stay_and_sequences_become_vectors(classes):
    pooled = pool_corpus(classes)
    assert [(m.name, m.dim, m.length) for m in pooled.spec.modalities] == [("vision", 5, 1), ("audio", 15, 1)]
    np.testing.assert_allclose(pooled["test"].features["vision"].values, classes["test"].features["vision"].values)
    assert pooled["test"].present.tolist() == classes["test"].present.tolist()
