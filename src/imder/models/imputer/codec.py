r"""Feature codec: the raw features of a clip as a vector of fixed width, and back, without labels and in closed form.

Frames become standardised values, each feature in the way of its kind (`feature_kinds`); then

    single vectors   code = the values; beyond ``max_width`` their leading components (`components`), the rest is noise
    sequences        code = mean over time | curve through a few knots | deviation and smoothness over time | length
                     (`sequence_codec`)

Means, deviations over time and deviations of the steps from frame to frame of a decoded clip are those of its code,
whatever the noise, but for limits of the training range. Lengths are normal scores of the training lengths. Codes are
standardised over the training clips. Encoding is deterministic; a row's draws depend on its own noise stream alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imder.data.split import Ragged
from imder.diffusion.noise import KeyedNoise
from imder.models.configuration import POSITIVE_COUNT, Number, check_numbers
from imder.models.imputer.components import PrincipalComponents
from imder.models.imputer.correlated_noise import CorrelatedNoise
from imder.models.imputer.feature_kinds import FeatureMarginals
from imder.models.imputer.sequence_codec import SequenceCodec
from imder.nn.resample import frame_mask
from imder.types import Modality

CLIPS = 64
"""Clips that are fitted at a time."""

MOST_CLIPS = 8192
"""Clips, at regular intervals, that sequences are fitted to; kinds of features and ranges come from all that are given."""


@dataclass(frozen=True)
class CodecConfig:
    """Settings of the codecs.

    Attributes:
        max_width: largest number of columns for a single vector, or a sequence's mean.
        knots: number of knots of a sequence's curve, in each channel.
        curve_width: largest number of columns for the curve.
        dynamics_width: largest number of columns for deviations and smoothness over time.
        rank: largest number of common factors of noise.
        discrete: a feature with at most this many distinct values is discrete.
        atom_share: a value with at least this share of the training frames keeps its mass.
    """

    max_width: int = 128
    knots: int = 8
    curve_width: int = 64
    dynamics_width: int = 96
    rank: int = 32
    discrete: int = 16
    atom_share: float = 0.05

    def __post_init__(self) -> None:
        counts = dict.fromkeys(("max_width", "knots", "curve_width", "dynamics_width", "rank"), POSITIVE_COUNT)
        kinds = {"discrete": Number(whole=True, least=2, most=64), "atom_share": Number(least=0.04, below=1)}
        check_numbers(self, counts | kinds, "model.codec")


class FeatureCodec(nn.Module):
    """Codes of one modality; zeros, and clips of one frame of zeros, until fitted.

    Args:
        modality: its dimension, and whether clips are single vectors (length 1) or sequences.
        config: settings.

    Attributes:
        width: F, of the code.
    """

    def __init__(self, modality: Modality, config: CodecConfig) -> None:
        super().__init__()
        self.dim, self.is_vector = modality.dim, modality.length == 1
        kinds = config.discrete, config.atom_share
        self.marginals = FeatureMarginals(modality.dim, *kinds, frames=not self.is_vector)
        if self.is_vector:
            self.values = PrincipalComponents(modality.dim, config.max_width)
            self.values_rest = CorrelatedNoise(modality.dim, config.rank)
            self.width = self.values.width
        else:
            widths = config.max_width, config.curve_width, config.dynamics_width
            self.sequences = SequenceCodec(modality.dim, config.knots, *widths, config.rank)
            self.length = FeatureMarginals(1, *kinds, always=True)
            self.width = self.sequences.width + 1

    @torch.no_grad()
    def fit(self, sequences: Ragged, seed: int) -> None:
        """Fit to training clips.

        Args:
            sequences: of N clips; rows of length 0 are ignored. Without any other the codec stays as it is.
            seed: of randomised decompositions.
        """
        rows = np.flatnonzero(sequences.lengths)
        if not len(rows):
            return
        self.marginals.fit(np.asarray(sequences.values, dtype=np.float32))
        if self.is_vector:
            x = torch.cat([x[:, 0] for x, _ in self._chunks(sequences, rows)])
            self.values.fit(x, seed)
            self.values_rest.fit(x - self.values.decode(self.values.encode(x)))
        else:
            self.length.fit(sequences.lengths[rows, None].astype(np.float32))
            some = rows[:: -(-len(rows) // MOST_CLIPS)]
            self.sequences.fit(lambda: self._chunks(sequences, some), seed)

    def _chunks(self, sequences: Ragged, rows: NDArray[np.int64]) -> Iterator[tuple[Tensor, Tensor]]:
        """Standardised clips ``(B, T, D)`` and their lengths."""
        for i in range(0, len(rows), CLIPS):
            clips = [torch.from_numpy(np.array(sequences[int(row)], dtype=np.float32)) for row in rows[i : i + CLIPS]]
            device = self.marginals.center.device
            lengths = torch.tensor([len(clip) for clip in clips], device=device)
            yield self._standardized(nn.utils.rnn.pad_sequence(clips, batch_first=True).to(device), lengths), lengths

    def _standardized(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Standardised frames, 0 beyond lengths."""
        mask = frame_mask(lengths, features.shape[1])[..., None]
        return torch.where(mask, self.marginals.encode(torch.where(mask, features, 0.0)), 0.0)

    @torch.no_grad()
    def encode(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Codes ``(B, F)``, of mean 0 and deviation 1 over the training clips.

        Args:
            features: ``(B, T, D)`` raw; anything beyond lengths.
            lengths: ``(B,)``; rows of length 0 have code 0.
        """
        x = self._standardized(features, lengths)
        if self.is_vector:
            code = self.values.encode(x[:, 0])
        else:
            code = torch.cat([self.sequences.encode(x, lengths), self.length.encode(lengths[:, None].float())], dim=1)
        return torch.where(lengths[:, None] > 0, code, 0.0)

    @torch.no_grad()
    def decode(self, codes: Tensor, noise: KeyedNoise, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Raw features ``(R, T, D)``, 0 beyond lengths, and lengths ``(R,)`` int64; T is the longest, at least 1.

        Args:
            codes: ``(R, F)``.
            noise: float32, of R rows.
            lengths: ``(R,)`` of sequences; 0 for that of the code, None for those of all codes.
        """
        rows = len(codes)
        if self.is_vector:
            x = self.values.decode(codes) + self.values_rest.sample(noise, rows)
            x = self.marginals.decode(x, self.marginals.gap_noise(noise, rows))
            return x[:, None], torch.ones(rows, dtype=torch.int64, device=codes.device)
        drawn = self.length.decode(codes[:, -1:], self.length.gap_noise(noise, rows))[:, 0].long().clamp(min=1)
        lengths = drawn if lengths is None else torch.where(lengths > 0, lengths, drawn)
        x = self.marginals.decode_frames(self.sequences.decode(codes[:, :-1], lengths, noise), lengths)
        return x * frame_mask(lengths, x.shape[1])[..., None], lengths
