r"""Features in and out of standardised values, each kind of feature in its own way, so that draws keep its kind.

* constant: the code is 0, every draw is the constant;
* continuous: (x - mean) / deviation; draws are limited to the training range;
* discrete (few distinct values) and with atoms (values of 5 % of the mass or more, such as the 0 of an intensity): normal
  scores. The training values, sorted, fill (0, 1) by their share; with z = Phi^-1 of it,

      code of a value between atoms    (z - m) / s          at its middle rank
      code of an atom on (a, b)        (E[Z | a < Z < b] - m) / s

  and m, s make the codes' mean 0 and deviation 1. Draws invert this map. An atom takes the codes between its own and those of
  its neighbours from the edges Phi^-1 on that a normal code would need for the atom to keep its mass. Between an edge and the
  first code of the next continuous part there may be a gap, which no value is encoded to: there the draw is a random value of
  that part, so that normal codes keep its distribution too. With ``between="values"`` codes are linear in the values between
  two atoms, so that averages over time stay averages.

Whole numbers stay whole. Encoding is deterministic: equal values have equal codes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imder.diffusion.noise import KeyedNoise
from imder.models.imputer.normal_scores import Between, ScoreTable, fit_table, has_steps

NEGLIGIBLE = 1e-6
GOLDEN = (5**0.5 - 1) / 2

COLUMNS = 64
"""Features whose deviations are computed at a time."""

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
        between: whether codes between atoms are linear in the ``values`` or in their normal ``scores``.
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

    def __init__(self, dim: int, discrete: int, atom_share: float, *, between: Between, always: bool = False) -> None:
        super().__init__()
        self.discrete, self.atom_share, self.between, self.always = discrete, atom_share, between, always
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
        constant = (low == high) | (spread <= NEGLIGIBLE * np.abs(center))
        center = np.where(low == high, low, center.clip(low, high))  # the mean of equal values has rounding errors
        spread[constant] = 0
        low, high = (np.where(constant, center, x).astype(np.float32) for x in (low, high))
        for name, x in {"center": center, "spread": spread, "low": low, "high": high}.items():
            getattr(self, name).copy_(torch.from_numpy(x))
        small = np.maximum(np.abs(low), np.abs(high)) <= LARGEST_WHOLE
        self.whole.copy_(torch.from_numpy(~constant & small & (frames == np.round(frames)).all(0)))
        self.stepped.zero_()
        for i in np.flatnonzero(~constant):
            column, is_whole = frames[:, i], bool(self.whole[i])
            if self.always or has_steps(column, is_whole, self.discrete, self.atom_share):
                self._set(int(i), fit_table(column, is_whole, QUANTILES, self.discrete, self.atom_share, self.between))

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
        return self._with_stepped(codes, x, self._scores)

    def gap_noise(self, noise: KeyedNoise, rows: int) -> Tensor:
        """A uniform draw ``(rows, C)`` for the C features with steps, a row for each of ``noise``."""
        return noise.uniform((rows, int(self.stepped.sum())))

    def decode(self, codes: Tensor, gaps: Tensor) -> Tensor:
        """Values ``(R, T, D)`` of codes ``(R, T, D)``.

        Args:
            codes: any numbers.
            gaps: of `gap_noise`; frame t fills gaps with the fractional part of the draw plus t times the golden ratio.
        """
        values = torch.addcmul(self.center, codes, self.spread)
        values = torch.minimum(torch.maximum(values, self.low), self.high)
        shift = GOLDEN * torch.arange(codes.shape[1], device=codes.device)[:, None]
        uniform = ((gaps[:, None] + shift) % 1).flatten(0, 1).T
        values = self._with_stepped(values, codes, lambda u, columns: self._quantiles(u, columns, uniform))
        return torch.where(self.whole, values.round(), values) if bool(self.whole.any()) else values

    def _with_stepped(self, out: Tensor, x: Tensor, table: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """``out`` with the columns of features with steps replaced by ``table`` of theirs in ``x``."""
        columns = self.stepped.nonzero()[:, 0]
        if not len(columns):
            return out
        flat = x[..., columns].flatten(0, -2)
        result = table(flat.T.contiguous(), columns).T.reshape(*x.shape[:-1], len(columns))
        return out.index_copy(out.ndim - 1, columns, result)

    def _scores(self, x: Tensor, columns: Tensor) -> Tensor:
        """Codes ``(C, n)`` of values of the features ``columns`` (C,)."""
        codes, values = self.codes[columns], self.values[columns]
        x = torch.minimum(torch.maximum(x, values[:, :1]), values[:, -1:])
        last = values.shape[1] - 1
        first = torch.searchsorted(values, x).clamp(max=last - 1)
        is_atom = values.gather(1, first + 1) == x  # its two edges
        knot = (torch.searchsorted(values, x, right=True) - 1).clamp(0, last - 1)
        left, right = codes.gather(1, knot), codes.gather(1, knot + 1)
        a, b = values.gather(1, knot), values.gather(1, knot + 1)
        share = torch.where(b > a, (x - a) / torch.where(b > a, b - a, 1.0), 0.0)
        return torch.where(is_atom, self.points[columns].gather(1, first), left + share * (right - left))

    def _quantiles(self, codes: Tensor, columns: Tensor, uniform: Tensor) -> Tensor:
        """Values ``(C, n)`` of codes ``(C, n)`` of the features ``columns`` (C,)."""
        fills = self.fills[columns]
        knot = self._knot(codes, columns)
        low, high = (fills[..., i].gather(1, knot) for i in (0, 1))
        normal = torch.special.ndtri((low + uniform * (high - low)).clamp(1e-6, 1 - 1e-6))
        filled = (normal - self.center[columns][:, None]) / self.spread[columns][:, None]
        codes = torch.where(high > low, filled, codes)
        knot = self._knot(codes, columns)
        grid, values = self.codes[columns], self.values[columns]
        left, right = grid.gather(1, knot), grid.gather(1, knot + 1)
        a, b = values.gather(1, knot), values.gather(1, knot + 1)
        share = torch.where(right > left, (codes - left) / torch.where(right > left, right - left, 1.0), 0.0)
        return torch.lerp(a, b, share.clamp(0, 1))

    def _knot(self, codes: Tensor, columns: Tensor) -> Tensor:
        """The knots ``(C, n)`` at or before codes ``(C, n)``, but for the last."""
        grid = self.codes[columns]
        return (torch.searchsorted(grid, codes.contiguous(), right=True) - 1).clamp(0, grid.shape[1] - 2)
