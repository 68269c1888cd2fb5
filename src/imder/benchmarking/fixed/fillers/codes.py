"""Clips as vectors of fixed width, for fillers that need a table of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imder.benchmarking.fixed.fillers.base import Array
from imder.data.loader import collate
from imder.data.split import Split
from imder.diffusion.noise import KeyedNoise
from imder.models.imputer.codec import CodecConfig, FeatureCodec
from imder.types import Spec

CLIP = 5.0
"""Codes are limited to this many deviations, so that no outlier decides a regression."""
BATCH = 128


class ClipCodes:
    """Codes of each modality (`imder.models.imputer.codec`): ``(N, F_k)``, nan where it is missing.

    They have mean 0 and deviation 1 over the training clips.

    Args:
        train: the clips that the codes are fitted to.
        spec: of the corpus.
    """

    def __init__(self, train: Split, spec: Spec) -> None:
        self._codecs = {modality.name: FeatureCodec(modality, CodecConfig()) for modality in spec.modalities}
        for name, codec in self._codecs.items():
            codec.fit(train.features[name], seed=0)

    @property
    def widths(self) -> dict[str, int]:
        """F_k of each modality."""
        return {name: codec.width for name, codec in self._codecs.items()}

    def encode(self, split: Split) -> dict[str, Array]:
        """Codes of a split."""
        out = {name: np.full((len(split), width), np.nan) for name, width in self.widths.items()}
        for begin in range(0, len(split), BATCH):
            rows = np.arange(begin, min(begin + BATCH, len(split)))
            batch = collate(split, rows, split.present[rows])
            for k, (name, codec) in enumerate(self._codecs.items()):
                codes = codec.encode(batch.features[name], batch.lengths[name]).double().numpy()
                held = split.present[rows, k]
                out[name][rows[held]] = np.clip(codes[held], -CLIP, CLIP)
        return out

    def decode(self, name: str, codes: Array, keys: NDArray[np.int64], seed: int) -> list[NDArray[Any]]:
        """Sequences ``(T, D)`` from codes ``(R, F)``.

        Args:
            name: of the modality.
            codes: to decode.
            keys: ``(R,)`` of the clips.
            seed: of the noise that codes don't hold.
        """
        noise = KeyedNoise(torch.from_numpy(keys), seed)
        features, lengths = self._codecs[name].decode(torch.from_numpy(codes).float(), noise)
        return [x[:length] for x, length in zip(features.numpy(), lengths.tolist(), strict=True)]


def joined(codes: Mapping[str, Array], names: list[str]) -> Array:
    """Codes of several modalities side by side, ``(N, F)``; (N, 0) for none."""
    count = len(next(iter(codes.values())))
    return np.concatenate([np.zeros((count, 0)), *(codes[name] for name in names)], axis=1)
