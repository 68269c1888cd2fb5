r"""Features in and out of standardised values, each kind of feature in its own way, so that draws keep its kind.

* constant: the code is 0, every draw is the constant;
* continuous: (x - mean) / deviation; draws are limited to the training range;
* with steps: discrete (few distinct values), or with atoms (values of 5 % of the mass or more: the 0 of an intensity).

Vectors have normal scores of features with steps. The training values, sorted, fill (0, 1) by their share; z = Phi^-1 of it,

    code of a value between atoms    (z - m) / s          at its middle rank
    code of an atom on (a, b)        (E[Z | a < Z < b] - m) / s

and m, s make the codes' mean 0 and deviation 1. Draws invert this map. An atom takes the codes between its own and those of
its neighbours from the edges Phi^-1 on that a normal code would need for the atom to keep its mass. Between an edge and the
first code of the next continuous part there may be a gap, which no value is encoded to: there the draw is a random value of
that part, so that normal codes keep its distribution too.

Frames of sequences have (x - mean) / deviation throughout, so that averages over time stay averages. In draws an atom takes
the codes around its own that its mass needs, and values between atoms share what is left; then the clip is shifted and
scaled until it has the mean and deviation over time of its codes, as far as the training range allows.

Whole numbers stay whole. Encoding is deterministic: equal values have equal codes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imder.diffusion.noise import KeyedNoise
from imder.models.imputer.normal_scores import ScoreTable, fit_table, fit_value_table, has_steps
from imder.nn.resample import frame_mask

NEGLIGIBLE = 1e-6
"""Features whose deviation is a smaller share of their mean are constant: such variation is rounding."""

MATCHES = 3
"""Corrections of a decoded clip's mean and deviation over time."""

TIGHT = 3.0
"""Frames within fewer deviations of a limit of the training range are matched as well."""

COLUMNS = 64
"""Features that are looked through at a time."""

QUANTILES = 257
"""Knots of the table of a feature with steps."""

LARGEST_WHOLE = 2.0**20
"""Beyond it features count as continuous: all large floats are whole."""

MOST_CODE = 30.0
"""Codes of values far beyond the training range are limited to this."""


class FeatureMarginals(nn.Module):
    """Marginal distributions of ``dim`` features; all constants (of value 0) until fitted.

    Args:
        dim: D.
        discrete: a feature with at most this many distinct values is discrete.
        atom_share: a value with at least this share of the frames is an atom.
        frames: whether the values are frames of sequences, not vectors.
        always: whether continuous features have normal scores as well.
    """

    center: Tensor
    spread: Tensor
    low: Tensor
    high: Tensor
    whole: Tensor
    stepped: Tensor
    codes: Tensor
    values: Tensor
    points: Tensor
    fills: Tensor

    def __init__(
        self, dim: int, discrete: int, atom_share: float, *, frames: bool = False, always: bool = False
    ) -> None:
        super().__init__()
        self.discrete, self.atom_share, self.frames, self.always = discrete, atom_share, frames, always
        for name in ("center", "low", "high"):
            self.register_buffer(name, torch.zeros(dim))
        self.register_buffer("spread", torch.zeros(dim))
        self.register_buffer("whole", torch.zeros(dim, dtype=torch.bool))
        self.register_buffer("stepped", torch.zeros(dim, dtype=torch.bool))
        for name in ("codes", "values", "points"):
            self.register_buffer(name, torch.zeros(dim, QUANTILES))
        self.register_buffer("fills", torch.zeros(dim, QUANTILES, 2))

    def fit(self, frames: NDArray[np.float32]) -> None:
        """Fit to ``(n, D)`` finite values, n at least 1."""
        low, high = frames.min(0), frames.max(0)
        center = frames.mean(0, dtype=np.float64)
        blocks = [frames[:, i : i + COLUMNS] for i in range(0, frames.shape[1], COLUMNS)]
        spread = np.concatenate([block.std(0, dtype=np.float64) for block in blocks])
        whole = np.concatenate([(block == np.round(block)).all(0) for block in blocks])
        constant = (low == high) | (spread <= NEGLIGIBLE * np.abs(center))
        center = np.where(low == high, low, center.clip(low, high))  # the mean of equal values has rounding errors
        spread[constant] = 0
        low, high = (np.where(constant, center, x).astype(np.float32) for x in (low, high))
        for name, x in {"center": center, "spread": spread, "low": low, "high": high}.items():
            getattr(self, name).copy_(torch.from_numpy(x))
        small = np.maximum(np.abs(low), np.abs(high)) <= LARGEST_WHOLE
        self.whole.copy_(torch.from_numpy(~constant & small & whole))
        self.stepped.zero_()
        for i in np.flatnonzero(~constant):
            column, is_whole = frames[:, i], bool(self.whole[i])
            if self.always or has_steps(column, is_whole, self.discrete, self.atom_share):
                fit = fit_value_table if self.frames else fit_table
                self._set(int(i), fit(column, is_whole, QUANTILES, self.discrete, self.atom_share))

    def _set(self, i: int, table: ScoreTable) -> None:
        self.stepped[i] = True
        self.center[i], self.spread[i] = table.mean, table.deviation
        for name in ("codes", "values", "points", "fills"):
            getattr(self, name)[i] = torch.from_numpy(getattr(table, name))

    def encode(self, x: Tensor) -> Tensor:
        """Codes ``(..., D)`` of finite values ``(..., D)``."""
        varies = self.spread > 0
        codes = torch.where(varies, (x - self.center) / torch.where(varies, self.spread, 1.0), 0.0)
        codes = codes.clamp(-MOST_CODE, MOST_CODE)
        if self.frames:
            return codes
        return self._with_stepped(codes, x, self._scores, torch.arange(x.shape[-1], device=x.device))

    def gap_noise(self, noise: KeyedNoise, rows: int) -> Tensor:
        """A uniform draw ``(rows, C)`` for the C features with steps, a row for each of ``noise``."""
        return noise.uniform((rows, int(self.stepped.sum())))

    def decode(self, codes: Tensor, gaps: Tensor) -> Tensor:
        """Values ``(R, D)`` of the codes ``(R, D)`` of vectors; ``gaps`` of `gap_noise`."""
        everything = torch.arange(codes.shape[1], device=codes.device)
        return self._decode(codes, everything, lambda u, columns: self._quantiles(u, columns, gaps.T))

    def decode_frames(self, codes: Tensor, lengths: Tensor) -> Tensor:
        """Values ``(R, T, D)`` of the codes ``(R, T, D)`` of sequences of ``lengths`` (R,) frames."""
        values = torch.clamp_(torch.addcmul(self.center, codes, self.spread), self.low, self.high)
        tight = torch.minimum(self.center - self.low, self.high - self.center) < TIGHT * self.spread
        columns = (self.stepped | self.whole | tight).nonzero()[:, 0]
        if not len(columns):
            return values
        z = codes[..., columns]
        mean, deviation = _time_statistics(z, lengths)
        spread = torch.where(self.spread > 0, self.spread, 1.0)[columns]
        for _ in range(MATCHES):
            x = (self._decode(z, columns, self._values) - self.center[columns]) / spread
            reached, reached_deviation = _time_statistics(x, lengths)
            own = _time_statistics(z, lengths)[0]
            z = (z - own) * (deviation / reached_deviation.clamp(min=1e-6)).clamp(0.5, 2) + own + mean - reached
        return values.index_copy(2, columns, self._decode(z, columns, self._values))

    def _decode(self, codes: Tensor, columns: Tensor, table: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Values ``(..., C)`` of codes ``(..., C)`` of the features ``columns`` (C,); ``table`` for those with steps."""
        values = torch.addcmul(self.center[columns], codes, self.spread[columns])
        values = torch.clamp_(values, self.low[columns], self.high[columns])
        values = torch.where(self.whole[columns], values.round(), values)
        return self._with_stepped(values, codes, table, columns)

    def _with_stepped(
        self, out: Tensor, x: Tensor, table: Callable[[Tensor, Tensor], Tensor], columns: Tensor
    ) -> Tensor:
        """``out`` with the columns of features with steps replaced by ``table`` of theirs in x; both ``(..., C)``."""
        stepped = self.stepped[columns].nonzero()[:, 0]
        if not len(stepped):
            return out
        part = x[..., stepped]
        result = table(part.flatten(0, -2).T.contiguous(), columns[stepped]).T.reshape(part.shape)
        return out.index_copy(out.ndim - 1, stepped, result)

    def _scores(self, x: Tensor, columns: Tensor) -> Tensor:
        """Codes ``(C, n)`` of values of the features ``columns`` (C,)."""
        codes, values = self.codes[columns], self.values[columns]
        x = torch.minimum(torch.maximum(x, values[:, :1]), values[:, -1:])
        last = values.shape[1] - 1
        first = torch.searchsorted(values, x).clamp(max=last - 1)
        # two knots of one value: an atom's edges, or a gap's; the last knot may be repeated
        is_flat = (values.gather(1, first + 1) == x) & (codes.gather(1, first + 1) > codes.gather(1, first))
        knot = (torch.searchsorted(values, x, right=True) - 1).clamp(0, last - 1)
        left, right = codes.gather(1, knot), codes.gather(1, knot + 1)
        a, b = values.gather(1, knot), values.gather(1, knot + 1)
        share = torch.where(b > a, (x - a) / torch.where(b > a, b - a, 1.0), 0.0)
        return torch.where(is_flat, self.points[columns].gather(1, first), left + share * (right - left))

    def _quantiles(self, codes: Tensor, columns: Tensor, uniform: Tensor) -> Tensor:
        """Values ``(C, n)`` of codes ``(C, n)`` of the features ``columns`` (C,)."""
        fills = self.fills[columns]
        knot = self._knot(codes, columns)
        low, high = (fills[..., i].gather(1, knot) for i in (0, 1))
        normal = torch.special.ndtri((low + uniform * (high - low)).clamp(1e-6, 1 - 1e-6))
        filled = (normal - self.center[columns][:, None]) / self.spread[columns][:, None]
        return self._values(torch.where(high > low, filled, codes), columns)

    def _values(self, codes: Tensor, columns: Tensor) -> Tensor:
        """Values ``(C, n)`` between the knots around codes ``(C, n)``."""
        knot = self._knot(codes, columns)
        grid, values = self.codes[columns], self.values[columns]
        left, right = grid.gather(1, knot), grid.gather(1, knot + 1)
        a, b = values.gather(1, knot), values.gather(1, knot + 1)
        share = torch.where(right > left, (codes - left) / torch.where(right > left, right - left, 1.0), 0.0)
        result = torch.lerp(a, b, share.clamp(0, 1))
        return torch.where(self.whole[columns][:, None], result.round(), result)

    def _knot(self, codes: Tensor, columns: Tensor) -> Tensor:
        """The knots ``(C, n)`` at or before codes ``(C, n)``, but for the last."""
        grid = self.codes[columns]
        return (torch.searchsorted(grid, codes.contiguous(), right=True) - 1).clamp(0, grid.shape[1] - 2)


def _time_statistics(x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation over the valid frames, ``(R, 1, D)`` each, of x ``(R, T, D)``."""
    mask = frame_mask(lengths, x.shape[1])[..., None]
    frames = lengths.clamp(min=1)[:, None, None]
    mean = torch.where(mask, x, 0.0).sum(1, keepdim=True) / frames
    return mean, (torch.where(mask, x - mean, 0.0).square().sum(1, keepdim=True) / frames).sqrt()
