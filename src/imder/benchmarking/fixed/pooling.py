"""A corpus whose sequences are pooled to single vectors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from imder.data.corpus import Corpus, Ragged, Split
from imder.imputation.pooling import pooled, pooled_sizes
from imder.types import Spec


def pool_corpus(corpus: Corpus) -> Corpus:
    """The corpus with a single vector of pooled features for each modality; a missing modality stays missing."""
    sizes = pooled_sizes(corpus.spec)
    modalities = tuple(replace(m, dim=size, length=1) for m, size in zip(corpus.spec.modalities, sizes, strict=True))
    splits = {name: _pooled_split(split, corpus.spec) for name, split in corpus.splits.items()}
    return replace(corpus, spec=replace(corpus.spec, modalities=modalities), splits=splits)


def _pooled_split(split: Split, spec: Spec) -> Split:
    parts = np.split(pooled(split, spec), np.cumsum(pooled_sizes(spec))[:-1], axis=1)
    features = {}
    for name, present, x in zip(split.features, split.present.T, parts, strict=True):
        offsets = np.concatenate([[0], np.cumsum(present)]).astype(np.int64)
        features[name] = Ragged(x[present].astype(np.float32), offsets)
    return replace(split, features=features)
