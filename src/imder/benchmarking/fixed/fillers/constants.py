"""Constants in place of missing modalities: zeros, or the training mean."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from imder.benchmarking.fixed.fillers.base import Mask, with_filled
from imder.benchmarking.fixed.fit_settings import FitSettings
from imder.data.split import Split


class ConstantFill:
    """The same sequence for every clip: frames of zeros or of the training mean, as many as the median clip has.

    Args:
        mean: fill with the mean frame of the training clips instead of zeros.
    """

    def __init__(self, *, mean: bool) -> None:
        self._mean = mean

    def fit(self, train: Split, valid: Split, settings: FitSettings) -> None:
        """Take means and median lengths."""
        del valid, settings
        self._constants = {}
        for name, ragged in train.features.items():
            held = ragged.lengths[ragged.lengths > 0]
            length = int(np.median(held)) if len(held) else 1
            values = np.asarray(ragged.values[ragged.offsets[0] : ragged.offsets[-1]], dtype=np.float64)
            frame = values.mean(0) if self._mean and len(values) else np.zeros(ragged.dim)
            self._constants[name] = np.tile(frame.astype(np.float32), (length, 1))

    def fill(self, split: Split, available: Mask, draws: int, seed: int) -> Iterator[Split]:
        """Yield the split once."""
        del draws, seed
        missing = (~available).sum(0).tolist()
        yield with_filled(
            split,
            available,
            {name: [self._constants[name]] * count for name, count in zip(split.features, missing, strict=True)},
        )
