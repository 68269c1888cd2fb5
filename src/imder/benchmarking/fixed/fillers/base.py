"""The contract of fillers, and how filled features are put into a split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from imder.benchmarking.fixed.fit_settings import FitSettings
from imder.data.split import Ragged, Split
from imder.types import ImderError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class FillerLeftOut(ImderError):
    """A filler that can't be used on a corpus, or would take too long; the message says why."""


class Filler(Protocol):
    """Puts raw features in place of missing modalities."""

    def fit(self, train: Split, valid: Split, settings: FitSettings) -> None:
        """Learn from clips, whatever they hold; labels may be hidden.

        Args:
            train: the clips to learn from.
            valid: other clips, for choices and early stops.
            settings: spec, seed, and a folder for what is trained.

        Raises:
            FillerLeftOut: the filler can't be used on this corpus.
        """
        ...

    def fill(self, split: Split, available: Mask, draws: int, seed: int) -> Iterator[Split]:
        """Yield the split ``draws`` times with every modality filled in; a filler without noise yields it once.

        A clip with nothing available may stay incomplete.

        Args:
            split: whole dialogues, where clips have neighbours.
            available: ``(N, K)`` bool, what the filler may read; the rest is filled in, whether or not it is present.
            draws: number of fillings.
            seed: of the noise.
        """
        ...


def with_filled(split: Split, available: Mask, filled: Mapping[str, Sequence[NDArray[Any]]]) -> Split:
    """The split with features in place of what isn't available; sequences that are available are the same to the bit.

    Args:
        split: the clips.
        available: ``(N, K)`` bool.
        filled: for each modality the sequences ``(T, D)`` of the clips that lack it, in order.

    >>> split = Split(("a", "b"), {"audio": Ragged(np.array([[1.0], [2.0]]), np.array([0, 1, 2]))})
    >>> with_filled(split, np.array([[True], [False]]), {"audio": [np.array([[5.0], [6.0]])]}).features["audio"].values
    array([[1.], [5.], [6.]])
    """
    features = {}
    for k, (name, ragged) in enumerate(split.features.items()):
        missing = ~available[:, k]
        if not missing.any():
            features[name] = ragged
            continue
        drawn = iter(filled[name])
        sequences = [next(drawn) if is_missing else ragged[i] for i, is_missing in enumerate(missing.tolist())]
        features[name] = Ragged.from_list(sequences, ragged.dim)
    return replace(split, features=features)
