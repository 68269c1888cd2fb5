r"""Sequences of standardised frames as columns of fixed width, and back.

    x_t = m + c_t + e_t                       m mean over time, c curve of mean 0 (`curve`), e residual (`residual`)

    columns   components of m | components of the knots of c | components of log v and log q / v

v and q are the variance over time and the mean squared step of x itself, in each channel. A decoded clip has m, v and q of its
columns: the curve is scaled down where it alone exceeds v, and the residual gets what is left of v and q. What the
components of m, v and q leave out is noise of the clip (`correlated_noise`); what those of c leave out belongs to the
residual, whose innovations are correlated across channels as in training.

Clips of one frame don't tell v, those of two don't tell q / v: they have the training mean there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from imder.diffusion.noise import KeyedNoise
from imder.models.imputer.components import PrincipalComponents
from imder.models.imputer.correlated_noise import MOST_ROWS, CorrelatedNoise
from imder.models.imputer.curve import curve_weights
from imder.models.imputer.residual import autocorrelation, autoregressive, frame_mask_of, shaped, time_moments
from imder.nn.resample import resample_weights

Clips = Iterable[tuple[Tensor, Tensor]]
"""Standardised frames ``(B, T, D)``, 0 beyond lengths, and lengths ``(B,)``, at least 1."""

QUIET = 1e-3
"""Variances are coded as log(v + QUIET times the channel's mean variance)."""

SILENT = 1e-12
LEAST_RATIO, ROUGHEST = 1e-4, 3.5
"""Limits of q / v: of coded clips, and of the residual."""

ROWS = 16
"""Rows of similar lengths that are decoded at a time: few, for the cache's sake."""


class SequenceCodec(nn.Module):
    """Columns of sequences.

    Args:
        dim: D.
        knots: S, of the curve.
        mean_width: largest number of columns for m.
        curve_width: for c.
        dynamics_width: for v and q.
        rank: largest number of common factors of noise.
    """

    low: Tensor
    high: Tensor
    quiet: Tensor

    def __init__(self, dim: int, knots: int, mean_width: int, curve_width: int, dynamics_width: int, rank: int) -> None:
        super().__init__()
        self.dim, self.knots = dim, knots
        self.mean = PrincipalComponents(dim, mean_width)
        self.mean_rest = CorrelatedNoise(dim, rank)
        self.curve = PrincipalComponents(knots * dim, curve_width)
        self.dynamics = PrincipalComponents(2 * dim, dynamics_width, standardized=True)
        self.dynamics_rest = CorrelatedNoise(2 * dim, rank)
        self.innovations = CorrelatedNoise(dim, rank)
        self.register_buffer("low", torch.zeros(2 * dim))
        self.register_buffer("high", torch.zeros(2 * dim))
        self.register_buffer("quiet", torch.full((dim,), SILENT))
        self.widths = [self.mean.width, self.curve.width, self.dynamics.width]
        self.width = sum(self.widths)

    def fit(self, clips: Callable[[], Clips], seed: int) -> None:
        """Fit to clips, which are read twice.

        Args:
            clips: starts reading anew.
            seed: of randomised decompositions.
        """
        means, knots, moments, lengths = [], [], [], []
        for x, frames in clips():
            mean, shape = self._mean_and_knots(x, frames)
            means.append(mean)
            knots.append(shape)
            moments.append(torch.stack(time_moments(x, frames)))
            lengths.append(frames)
        _fit_with_rest(self.mean, self.mean_rest, torch.cat(means), seed)
        self.curve.fit(torch.cat(knots), seed)
        (variance, roughness), frames = torch.cat(moments, 1), torch.cat(lengths)
        if bool((frames > 1).any()):
            self.quiet.copy_((QUIET * variance[frames > 1].mean(0)).clamp(min=SILENT))
        dynamics = self._dynamics(variance, roughness, frames)
        dynamics = torch.where(dynamics.isnan(), dynamics.nanmean(0).nan_to_num(), dynamics)
        self.low.copy_(dynamics.amin(0))
        self.high.copy_(dynamics.amax(0))
        _fit_with_rest(self.dynamics, self.dynamics_rest, dynamics, seed)
        every = max(1, int(frames.sum()) // MOST_ROWS)
        self.innovations.fit(torch.cat([self._innovations(x, n)[::every] for x, n in clips()]), unit=True)

    def encode(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Columns ``(B, width)`` of frames ``(B, T, D)``, 0 beyond ``lengths`` (B,)."""
        mean, knots = self._mean_and_knots(x, lengths)
        dynamics = self._dynamics(*time_moments(x, lengths), lengths)
        dynamics = torch.where(dynamics.isnan(), self.dynamics.center, dynamics)
        dynamics = torch.minimum(torch.maximum(dynamics, self.low), self.high)
        return torch.cat([self.mean.encode(mean), self.curve.encode(knots), self.dynamics.encode(dynamics)], dim=1)

    def decode(self, columns: Tensor, lengths: Tensor, noise: KeyedNoise) -> Tensor:
        """Frames ``(R, T, D)`` of columns ``(R, width)``; anything beyond ``lengths`` (R,). T is the longest."""
        rows, frames = len(columns), max([1, *lengths.tolist()])
        mean, curve, dynamics = torch.split(columns, self.widths, dim=1)
        mean = self.mean.decode(mean) + self.mean_rest.sample(noise, rows)
        dynamics = self.dynamics.decode(dynamics) + self.dynamics_rest.sample(noise, rows)
        dynamics = torch.minimum(torch.maximum(dynamics, self.low), self.high)
        out = columns.new_empty(rows, frames, self.dim)
        for t in range(frames):  # a call for each frame: a clip's noise doesn't depend on the longest of the batch
            out[:, t] = self.innovations.sample(noise, rows)
        for some in torch.split(lengths.argsort(stable=True), ROWS) if rows else ():
            longest = max(1, int(lengths[some].max()))
            parts = (each[some] for each in (mean, curve, dynamics, lengths))
            out[some, :longest] = self._frames(out[some, :longest], *parts)
        return out

    def _frames(self, innovations: Tensor, mean: Tensor, curve: Tensor, dynamics: Tensor, lengths: Tensor) -> Tensor:
        """``(R, T, D)``."""
        strength, ratio = torch.split(dynamics.exp(), self.dim, dim=1)
        variance = (strength.square() - self.quiet).clamp(min=0)
        c = self._curve(self.curve.decode(curve), lengths, innovations.shape[1])
        curve_variance, curve_roughness = time_moments(c, lengths)
        # what the curve leaves must be able to be as rough as it has to: q / v at most ROUGHEST
        room = (variance - ratio * variance / ROUGHEST).clamp(min=0)
        taken = curve_variance - curve_roughness / ROUGHEST
        scale = torch.where(taken > room, room / taken.clamp(min=SILENT), 1.0)
        scale = torch.minimum(scale, variance / curve_variance.clamp(min=SILENT)).clamp(max=1)
        c = c * scale.sqrt()[:, None]
        left = (variance - scale * curve_variance).clamp(min=0)
        rough = ratio * variance - scale * curve_roughness
        left_ratio = (rough / left.clamp(min=SILENT)).clamp(LEAST_RATIO, ROUGHEST)
        rho = autocorrelation(left_ratio, lengths[:, None])
        e = shaped(autoregressive(innovations, rho), c, lengths, left, left_ratio * left)
        return e.add_(c).add_(mean[:, None])

    def _mean_and_knots(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, D)`` and, less the mean, ``(B, S D)``."""
        knots = resample_weights(lengths, x.shape[1], self.knots) @ x
        mean = knots.mean(1, keepdim=True)
        return mean[:, 0], (knots - mean).flatten(1)

    def _curve(self, knots: Tensor, lengths: Tensor, frames: int) -> Tensor:
        """C ``(B, T, D)`` through knots ``(B, S D)``, less its mean; 0 beyond lengths."""
        knots = knots.view(len(knots), self.knots, self.dim)
        return curve_weights(lengths, frames, self.knots) @ (knots - knots.mean(1, keepdim=True))

    def _dynamics(self, variance: Tensor, roughness: Tensor, lengths: Tensor) -> Tensor:
        """Log deviation and log q / v ``(B, 2 D)``; NaN where the clip doesn't tell them."""
        frames = lengths[:, None]
        strength = torch.where(frames > 1, 0.5 * (variance + self.quiet).log(), torch.nan)
        ratio = (roughness / variance.clamp(min=SILENT)).clamp(min=LEAST_RATIO).log()
        told = (frames > 2) & (variance > self.quiet)
        return torch.cat([strength, torch.where(told, ratio, torch.nan)], dim=1)

    def _innovations(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Innovations of residuals ``(n, D)``, in units of their deviation, of all valid frames but each clip's first."""
        mean, knots = self._mean_and_knots(x, lengths)
        curve = self._curve(self.curve.decode(self.curve.encode(knots)), lengths, x.shape[1])
        mask = frame_mask_of(x, lengths)
        e = (x - mean[:, None] - curve) * mask
        variance, roughness = time_moments(e, lengths)
        rho = autocorrelation(roughness / variance.clamp(min=SILENT), lengths[:, None])[:, None]
        deviation = ((variance + self.quiet)[:, None] * (1 - rho.square())).sqrt()
        return ((e[:, 1:] - rho * e[:, :-1]) / deviation)[mask[:, 1:, 0] > 0]


def _fit_with_rest(components: PrincipalComponents, rest: CorrelatedNoise, rows: Tensor, seed: int) -> None:
    """Fit components to ``(n, N)`` rows, and noise to the part of the rows that they leave out."""
    components.fit(rows, seed)
    rest.fit(rows - components.decode(components.encode(rows)))
