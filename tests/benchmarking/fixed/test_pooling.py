"""A corpus of pooled features."""

from __future__ import annotations

import numpy as np

from imder.benchmarking.fixed.pooling import pool_corpus


def test_single_vectors_stay_and_sequences_become_vectors(classes):
    small = pool_corpus(classes)
    assert [(m.name, m.dim, m.length) for m in small.spec.modalities] == [("vision", 5, 1), ("audio", 15, 1)]
    test = classes["test"]
    np.testing.assert_allclose(small["test"].features["vision"].values, test.features["vision"].values)
    x = test.features["audio"][3]
    expected = np.concatenate([x.mean(0), x.std(0), np.diff(x, axis=0).std(0)])
    np.testing.assert_allclose(small["test"].features["audio"][3][0], expected, atol=1e-5)


def test_a_missing_modality_stays_missing(classes):
    audio = classes["test"].features["audio"]
    empty = type(audio).from_list([audio[i][:0] if i < 5 else audio[i] for i in range(len(audio))], 5)
    features = dict(classes["test"].features) | {"audio": empty}
    test = type(classes["test"])(classes["test"].ids, features)
    small = pool_corpus(type(classes)("lacking", classes.spec, {"test": test}))
    assert small["test"].present.tolist() == test.present.tolist()
