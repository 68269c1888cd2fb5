"""Pooled features: one row of numbers for each sample, for classifiers that read no sequences."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imder.data.split import Ragged, Split
from imder.types import ImderError, Spec

STATISTICS = 3
"""Numbers for each feature of a sequence: mean, standard deviation, standard deviation of differences."""


def pooled(split: Split, spec: Spec | None = None) -> NDArray[np.float64]:
    """Features of each sample, ``(N, F)``: modality by modality, in the split's order.

    A sequence modality gives, for each of its features, the mean over frames, the standard deviation, and the standard
    deviation of the differences of successive frames (0 for one frame): 3 D numbers. A modality of single vectors gives
    these, D numbers. A modality that a sample lacks gives NaN.

    Args:
        split: the samples.
        spec: of the corpus, whose longest sequences say which modalities are single vectors; None: those of which no sample
            of the split has two frames. Give it where splits may differ in that.

    Raises:
        ImderError: it is no split, or the split and the spec have different modalities.

    >>> audio = Ragged(np.array([[1.0], [3.0], [7.0]]), np.array([0, 2, 3]))
    >>> pooled(Split(("a", "b"), {"audio": audio})).tolist()
    [[2.0, 1.0, 0.0], [7.0, 0.0, 0.0]]
    """
    if not isinstance(split, Split):
        raise ImderError(f"pooled: a split is needed, such as corpus['train'], got {type(split).__name__}")
    if spec is not None and set(spec.names) != set(split.features):
        raise ImderError(f"the split has {', '.join(split.features)}; the spec has {', '.join(spec.names)}")
    longest = {} if spec is None else {m.name: m.length for m in spec.modalities}
    parts = [
        _statistics(ragged) if longest.get(name, int(ragged.lengths.max(initial=0))) > 1 else _vectors(name, ragged)
        for name, ragged in split.features.items()
    ]
    return np.concatenate(parts, axis=1)


def pooled_sizes(spec: Spec) -> tuple[int, ...]:
    """Columns of `pooled` that each modality of a corpus has, in the order of the spec: ``blocks`` of an imputer."""
    return tuple(m.dim * (STATISTICS if m.length > 1 else 1) for m in spec.modalities)


def _vectors(name: str, ragged: Ragged) -> NDArray[np.float64]:
    if (ragged.lengths > 1).any():
        raise ImderError(f"{name}: the spec says single vectors, but a sample has several frames")
    rows = np.full((len(ragged), ragged.dim), np.nan)
    rows[ragged.lengths == 1] = ragged.values[ragged.offsets[0] : ragged.offsets[-1]]
    return rows


def _statistics(ragged: Ragged) -> NDArray[np.float64]:
    """``(N, 3 D)``, a function of each sample's frames alone, to the bit."""
    rows = np.full((len(ragged), STATISTICS * ragged.dim), np.nan)
    for i in np.flatnonzero(ragged.lengths):
        x = np.asarray(ragged[int(i)], np.float64)
        steps = np.diff(x, axis=0)
        rows[i] = np.concatenate([x.mean(axis=0), x.std(axis=0), steps.std(axis=0) if len(steps) else 0 * x[0]])
    return rows
