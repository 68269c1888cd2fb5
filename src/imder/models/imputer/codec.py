r"""Feature codec: the raw features of a clip as a vector of fixed width, and back, without labels and in closed form.

Frames become standardised values, each feature in the way of its kind (`feature_kinds`); then

    one frame    code = the values; beyond ``max_width`` their leading components (`components`), the rest is noise
    sequences    x_t = c_t + o + e_t
                 c   curve through S knots, each their leading components        (`curve`)
                 o   the part of the clip's mean outside them, noise
                 e   residual about mean 0, an AR(1) process in each channel     (`residual`)
                 code = components of the knots | components of log std e and atanh rho, in each channel | length

The residual's variance is by definition var_t x - var_t c, and its rho matches the mean square of x_t - x_{t-1} less that of
the curve. Decoded noise is orthogonal to the curve and scaled to exactly the code's variance: the mean and the deviation over
time of a decoded clip are those of its code, whatever the noise, but for limits of the training range. The residuals'
innovations are correlated across channels as in training. Lengths are normal scores of the training lengths.

Codes are standardised over the training clips. Encoding is deterministic. Draws depend on the row's own noise stream alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from imder.data.split import Ragged
from imder.diffusion.noise import KeyedNoise
from imder.models.configuration import POSITIVE_COUNT, Number, check_numbers
from imder.models.imputer.components import PrincipalComponents
from imder.models.imputer.curve import curve_weights
from imder.models.imputer.feature_kinds import FeatureMarginals
from imder.models.imputer.residual import CorrelatedNoise, autocorrelation, autoregressive
from imder.nn.resample import frame_mask, resample_weights
from imder.types import Modality

CLIPS = 64
"""Clips that are fitted at a time."""

MOST_CLIPS = 8192
"""Clips that sequences are fitted to, at regular intervals; kinds of features and ranges come from all."""

QUIET = 1e-3
"""Residual variances are coded as log(v + QUIET times the channel's mean variance)."""

SILENT = 1e-12


@dataclass(frozen=True)
class CodecConfig:
    """Settings of the codecs.

    Attributes:
        max_width: largest width of the code of a single vector.
        knots: of a sequence's curve, in each channel.
        curve_width: largest number of columns for the curve.
        residual_width: largest number of columns for the residual's strength and autocorrelation.
        rank: largest number of common factors of noise.
        discrete: a feature with at most this many distinct values is discrete.
        atom_share: a value with at least this share of the training frames keeps its mass.
    """

    max_width: int = 128
    knots: int = 8
    curve_width: int = 64
    residual_width: int = 64
    rank: int = 32
    discrete: int = 16
    atom_share: float = 0.05

    def __post_init__(self) -> None:
        counts = dict.fromkeys(("max_width", "knots", "curve_width", "residual_width", "rank"), POSITIVE_COUNT)
        kinds = {"discrete": Number(whole=True, least=2, most=64), "atom_share": Number(least=0.02, below=1)}
        check_numbers(self, counts | kinds, "model.codec")


class FeatureCodec(nn.Module):
    """Codes of one modality; zeros, and clips of one frame of zeros, until fitted.

    Args:
        modality: its dimension, and whether clips are single vectors (length 1) or sequences.
        config: settings.

    Attributes:
        width: F, of the code.
    """

    low: Tensor
    high: Tensor
    quiet: Tensor

    def __init__(self, modality: Modality, config: CodecConfig) -> None:
        super().__init__()
        self.config, self.dim, self.is_vector = config, modality.dim, modality.length == 1
        dim, rank = modality.dim, config.rank
        self.marginals = FeatureMarginals(dim, config.discrete, config.atom_share)
        if self.is_vector:
            self.values = PrincipalComponents(dim, config.max_width)
            self.values_rest = CorrelatedNoise(dim, rank)
            self.width = self.values.width
            return
        self.curve = PrincipalComponents(config.knots * dim, config.curve_width)
        self.mean_rest = CorrelatedNoise(dim, rank)
        self.residual = PrincipalComponents(2 * dim, config.residual_width, standardized=True)
        self.residual_rest = CorrelatedNoise(2 * dim, rank)
        self.innovations = CorrelatedNoise(dim, rank)
        self.length = FeatureMarginals(1, config.discrete, config.atom_share, scores=True)
        self.register_buffer("low", torch.zeros(2 * dim))
        self.register_buffer("high", torch.zeros(2 * dim))
        self.register_buffer("quiet", torch.full((dim,), SILENT))
        self.width = self.curve.width + self.residual.width + 1

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
        self.marginals.fit(np.asarray(sequences.take(rows).values, dtype=np.float32))
        if self.is_vector:
            self._fit_vectors(torch.cat([x[:, 0] for x, _ in self._chunks(sequences, rows)]), seed)
            return
        self.length.fit(sequences.lengths[rows, None].astype(np.float32))
        self._fit_sequences(sequences, rows[:: -(-len(rows) // MOST_CLIPS)], seed)

    def _fit_vectors(self, x: Tensor, seed: int) -> None:
        self.values.fit(x, seed)
        self.values_rest.fit(x - self.values.decode(self.values.encode(x)))

    def _fit_sequences(self, sequences: Ragged, rows: np.ndarray, seed: int) -> None:
        knots = torch.cat([self._knots(x, lengths) for x, lengths in self._chunks(sequences, rows)])
        self.curve.fit(knots.flatten(1), seed)
        rest = knots - self.curve.decode(self.curve.encode(knots.flatten(1))).view_as(knots)
        self.mean_rest.fit(rest.mean(1))
        moments = [self._moments(x, lengths) for x, lengths in self._chunks(sequences, rows)]
        variance = torch.cat([v for v, _ in moments])
        varying = sequences.lengths[rows] > 1
        if varying.any():
            mean = variance[torch.from_numpy(varying)].mean(0)
            self.quiet.copy_((QUIET * mean).clamp(min=SILENT))
        lengths = torch.from_numpy(sequences.lengths[rows])
        strengths = torch.cat(
            [self._strengths(*each, part) for each, part in zip(moments, torch.split(lengths, CLIPS))]
        )
        center = strengths.nanmean(0).nan_to_num()
        strengths = torch.where(strengths.isnan(), center, strengths)
        self.low.copy_(strengths.amin(0))
        self.high.copy_(strengths.amax(0))
        self.residual.fit(strengths, seed)
        self.residual_rest.fit(strengths - self.residual.decode(self.residual.encode(strengths)))
        chunks = self._chunks(sequences, rows)
        each = max(1, -(-int(lengths.sum()) // MOST_INNOVATIONS))
        parts = [
            self._innovations(x, n, s)[::each] for (x, n), s in zip(chunks, torch.split(strengths, CLIPS), strict=True)
        ]
        self.innovations.fit(torch.cat(parts), unit=True)

    def _chunks(self, sequences: Ragged, rows: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        """Standardised clips ``(B, T, D)`` and their lengths."""
        for i in range(0, len(rows), CLIPS):
            clips = [torch.from_numpy(np.asarray(sequences[int(row)], dtype=np.float32)) for row in rows[i : i + CLIPS]]
            lengths = torch.tensor([len(clip) for clip in clips])
            yield self._standardized(nn.utils.rnn.pad_sequence(clips, batch_first=True), lengths), lengths

    def _standardized(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Standardised frames, 0 beyond lengths."""
        mask = frame_mask(lengths, features.shape[1])[..., None]
        return torch.where(mask, self.marginals.encode(torch.where(mask, features, 0.0)), 0.0)

    def _knots(self, x: Tensor, lengths: Tensor) -> Tensor:
        """``(B, S, D)``."""
        return resample_weights(lengths, x.shape[1], self.config.knots) @ x

    def _curve(self, columns: Tensor, lengths: Tensor, frames: int) -> Tensor:
        """``(B, T, D)`` of the code's first columns."""
        knots = self.curve.decode(columns).view(-1, self.config.knots, self.dim)
        return curve_weights(lengths, frames, self.config.knots) @ knots

    def _moments(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Variance over time and mean squared difference of the residual, ``(B, D)`` each, at least 0."""
        curve = self._curve(self.curve.encode(self._knots(x, lengths).flatten(1)), lengths, x.shape[1])
        (variance, rough), (curve_variance, curve_rough) = (time_moments(each, lengths) for each in (x, curve))
        return (variance - curve_variance).clamp(min=0), (rough - curve_rough).clamp(min=0)

    def _strengths(self, variance: Tensor, rough: Tensor, lengths: Tensor) -> Tensor:
        """Log deviation and atanh rho of the residual ``(B, 2 D)``; NaN where the clip doesn't tell them."""
        frames = lengths[:, None]
        strength = 0.5 * (variance + self.quiet).log()
        rho = autocorrelation(rough / variance.clamp(min=SILENT), frames.clamp(min=3))
        told = (frames > 2) & (variance > self.quiet)
        strength = torch.where(frames > 1, strength, torch.nan)
        return torch.cat([strength, torch.where(told, rho.atanh(), torch.nan)], dim=1)

    def _innovations(self, x: Tensor, lengths: Tensor, strengths: Tensor) -> Tensor:
        """Innovations of residuals ``(n, D)``, in units of their deviation, of all valid frames but each clip's first."""
        curve = self._curve(self.curve.encode(self._knots(x, lengths).flatten(1)), lengths, x.shape[1])
        mask = frame_mask(lengths, x.shape[1])
        e = torch.where(mask[..., None], x - curve, 0.0)
        e = e - e.sum(1, keepdim=True) / lengths[:, None, None]
        rho = strengths[:, self.dim :].tanh()[:, None]
        deviation = e.square().mean(1, keepdim=True).sqrt() + self.quiet.sqrt()
        return ((e[:, 1:] - rho * e[:, :-1]) / (deviation * (1 - rho.square()).sqrt()))[mask[:, 1:]]

    @torch.no_grad()
    def encode(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Codes ``(B, F)``, of mean 0 and deviation 1 over the training clips.

        Args:
            features: ``(B, T, D)`` raw; anything beyond lengths.
            lengths: ``(B,)``; rows of length 0 have code 0.
        """
        x = self._standardized(features, lengths)
        if self.is_vector:
            return torch.where(lengths[:, None] > 0, self.values.encode(x[:, 0]), 0.0)
        strengths = self._strengths(*self._moments(x, lengths), lengths)
        strengths = torch.where(strengths.isnan(), self.residual.center, strengths)
        strengths = torch.minimum(torch.maximum(strengths, self.low), self.high)
        parts = [
            self.curve.encode(self._knots(x, lengths).flatten(1)),
            self.residual.encode(strengths),
            self.length.encode(lengths[:, None].float()),
        ]
        return torch.where(lengths[:, None] > 0, torch.cat(parts, dim=1), 0.0)

    @torch.no_grad()
    def decode(self, codes: Tensor, noise: KeyedNoise, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Raw features ``(R, T, D)``, 0 beyond lengths, and lengths ``(R,)`` int64; T is the longest, at least 1.

        Args:
            codes: ``(R, F)``.
            noise: float32, of R rows.
            lengths: ``(R,)``; None for those of the codes.
        """
        if self.is_vector:
            lengths = torch.ones(len(codes), dtype=torch.int64, device=codes.device) if lengths is None else lengths
            x = (self.values.decode(codes) + self.values_rest.sample(noise, (len(codes),)))[:, None]
            x = x.expand(-1, max([1, *lengths.tolist()]), -1)
        else:
            x, lengths = self._sequences(codes, noise, lengths)
        mask = frame_mask(lengths, x.shape[1])[..., None]
        return torch.where(mask, self.marginals.decode(x, noise), 0.0), lengths

    def _sequences(self, codes: Tensor, noise: KeyedNoise, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Standardised frames and lengths."""
        columns, residual, length = torch.split(codes, [self.curve.width, self.residual.width, 1], dim=1)
        drawn = self.length.decode(length, noise)[:, 0].round().long().clamp(min=1)
        lengths = drawn if lengths is None else lengths
        rows, frames = len(codes), max([1, *lengths.tolist()])
        strengths = self.residual.decode(residual) + self.residual_rest.sample(noise, (rows,))
        strengths = torch.minimum(torch.maximum(strengths, self.low), self.high)
        strength, rho = torch.split(strengths, self.dim, dim=1)
        variance = ((2 * strength).exp() - self.quiet).clamp(min=0)
        offset = self.mean_rest.sample(noise, (rows,))
        mask = frame_mask(lengths, frames)[..., None]
        curve = self._curve(columns, lengths, frames)
        e = autoregressive(self.innovations.sample(noise, (rows, frames)), rho.tanh())
        return curve + offset[:, None] + scaled_residual(e, curve, mask, variance), lengths


MOST_INNOVATIONS = 8192
"""Innovations, at regular intervals, that their correlation is estimated from."""


def time_moments(x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Variance over time and mean squared difference of successive frames, ``(B, D)`` each, of x ``(B, T, D)``."""
    mask = frame_mask(lengths, x.shape[1])[..., None]
    frames = lengths.clamp(min=1)[:, None]
    mean = torch.where(mask, x, 0.0).sum(1) / frames
    variance = torch.where(mask, x - mean[:, None], 0.0).square().sum(1) / frames
    steps = torch.where(mask[:, 1:], x[:, 1:] - x[:, :-1], 0.0).square().sum(1) / (frames - 1).clamp(min=1)
    return variance, steps


def scaled_residual(e: Tensor, curve: Tensor, mask: Tensor, variance: Tensor) -> Tensor:
    """Noise ``(R, T, D)`` of mean 0 over time, orthogonal to the curve, and of exactly the given variance.

    Args:
        e: ``(R, T, D)``, unscaled.
        curve: ``(R, T, D)``.
        mask: ``(R, T, 1)``, valid frames.
        variance: ``(R, D)``. Noise that has no part orthogonal to the curve (in two frames, say) becomes 0.
    """
    frames = mask.sum(1, keepdim=True).clamp(min=1)
    centred = torch.where(mask, e, 0.0)
    centred = torch.where(mask, centred - centred.sum(1, keepdim=True) / frames, 0.0)
    trend = torch.where(mask, curve - torch.where(mask, curve, 0.0).sum(1, keepdim=True) / frames, 0.0)
    power = trend.square().sum(1, keepdim=True)
    before = centred.square().sum(1, keepdim=True)
    slope = (centred * trend).sum(1, keepdim=True) / power.clamp(min=1e-12)
    centred = centred - slope * trend
    left = centred.square().sum(1, keepdim=True)
    scale = (variance[:, None] * frames / left.clamp(min=1e-30)).sqrt()
    return centred * torch.where(left > 1e-6 * before, scale, 0.0)
