"""Pooled features: a vector of fixed width for each clip, as classifiers of scikit-learn need it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Corpus
from imder.data.split import Ragged, Split
from imder.types import Modality

Array = NDArray[np.float64]


def pool_sequences(sequences: Ragged) -> Array:
    """Mean and deviation of each feature, and the deviation of its change from frame to frame: ``(N, 3 D)``.

    Clips without frames give zeros.

    >>> pool_sequences(Ragged(np.array([[1.0], [3.0], [2.0]]), np.array([0, 2, 2, 3]))).tolist()
    [[2.0, 1.0, 0.0], [0.0, 0.0, 0.0], [2.0, 0.0, 0.0]]
    """
    frames, lengths = sequences.values[sequences.offsets[0] : sequences.offsets[-1]], sequences.lengths
    x = np.asarray(frames, dtype=np.float64)
    begins = sequences.offsets[:-1] - sequences.offsets[0]
    mean = _segment_means(x, begins, lengths)
    deviation = np.sqrt(_segment_means((x - np.repeat(mean, lengths, axis=0)) ** 2, begins, lengths))
    # Differences within a clip: the one across its last frame belongs to the next clip and is dropped.
    within = np.ones(max(0, len(x) - 1), dtype=bool)
    ends = begins[lengths > 0][1:]
    within[ends - 1] = False
    change = np.diff(x, axis=0)[within]
    counts = np.maximum(lengths - 1, 0)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    drift = np.repeat(_segment_means(change, starts, counts), counts, axis=0)
    return np.concatenate([mean, deviation, np.sqrt(_segment_means((change - drift) ** 2, starts, counts))], axis=1)


def _segment_means(x: Array, begins: NDArray[np.int64], counts: NDArray[np.int64]) -> Array:
    """The mean of ``x[begins[i] : begins[i] + counts[i]]`` for each i; zeros where it is empty."""
    out = np.zeros((len(counts), x.shape[1]))
    filled = counts > 0
    if filled.any():
        out[filled] = np.add.reduceat(x, begins[filled], axis=0) / counts[filled, None]
    return out


def single_vectors(split: Split) -> tuple[str, ...]:
    """The modalities that are one vector in every clip of a split."""
    return tuple(name for name, ragged in split.features.items() if ragged.lengths.max(initial=0) <= 1)


def pool(split: Split, vectors: Collection[str]) -> dict[str, Array]:
    """Pooled features ``(N, F)`` of each modality.

    Args:
        split: any clips.
        vectors: the modalities that are single vectors and stay as they are (`single_vectors` of the training split).
    """
    pooled = {name: pool_sequences(ragged) for name, ragged in split.features.items()}
    return {name: x[:, : x.shape[1] // 3] if name in vectors else x for name, x in pooled.items()}


def pool_corpus(corpus: Corpus) -> Corpus:
    """The corpus with a single vector of pooled features for each modality; a missing modality stays missing."""
    sequences = {m.name for m in corpus.spec.modalities if m.length > 1}
    vectors = [m.name for m in corpus.spec.modalities if m.name not in sequences]
    modalities = tuple(Modality(m.name, 3 * m.dim, 1) if m.name in sequences else m for m in corpus.spec.modalities)
    splits = {name: _pooled_split(split, vectors) for name, split in corpus.splits.items()}
    return replace(corpus, spec=replace(corpus.spec, modalities=modalities), splits=splits)


def _pooled_split(split: Split, vectors: Collection[str]) -> Split:
    pooled, present = pool(split, vectors), split.present
    features = {
        name: Ragged(
            x[present[:, k]].astype(np.float32), np.concatenate([[0], np.cumsum(present[:, k])]).astype(np.int64)
        )
        for k, (name, x) in enumerate(pooled.items())
    }
    return replace(split, features=features)
