"""A fingerprint of a corpus, quick to compute and different for different corpora."""

from __future__ import annotations

import hashlib

import numpy as np

from imder.data.corpus import Corpus

SAMPLED_FRAMES = 64
"""Frames of each modality and split that a fingerprint reads."""


def fingerprint(corpus: Corpus) -> str:
    """A hash of ids, labels, lengths, speakers, dialogues, token ids and a sample of frames."""
    digest = hashlib.blake2b(repr(corpus.spec).encode(), digest_size=12)
    for name, split in corpus.splits.items():
        digest.update(repr((name, split.ids)).encode())
        digest.update(repr((split.speaker, split.dialogue)).encode())
        for column in (split.labels, split.position):
            digest.update(np.ascontiguousarray(column if column is not None else []).tobytes())
        for ragged in (*split.features.values(), *([] if split.tokens is None else [split.tokens])):
            digest.update(ragged.lengths.tobytes())
            some = np.unique(np.linspace(0, max(len(ragged.values) - 1, 0), SAMPLED_FRAMES).astype(np.int64))
            digest.update(np.asarray(ragged.values[some[some < len(ragged.values)]], np.float64).tobytes())
    return digest.hexdigest()
