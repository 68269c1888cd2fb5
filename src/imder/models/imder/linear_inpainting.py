r"""The part of a partly erased encoding that is linear in what remains of it, in closed form.

    e_s ~ a_s + C psi_s,    psi_s = [i_s - a_s,  v (i_s - a_s),  u_s m_s,  u_s b,  u_s b / (n + 1),  u_s / (n + 1),  u_s]

for each step s: a and i are the encodings with erased frames averaged and interpolated (`imder.models.imder.remaining`), u_s
the share of erased frames that step s reads, v the mean of u over unknown steps, m the linear mean given the other modalities
and neighbours (`imder.models.imder.linear_mean`), b the mean of a over time, n the number of remaining frames. All of psi_s
is 0 where nothing is erased, so a known step stays as it is. C is shared by all steps and fitted by ridge regression: whether
frames are better interpolated or averaged, and how much the other modalities say, is a matter of the corpus.

What is left is the smaller the fewer frames are erased. Its deviation in a row is taken to be d sqrt(v), with d from the
training samples: the networks learn what is left in this unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from imder.models.imder.linear_mean import RidgeSums
from imder.models.imder.remaining import Remaining

LEAST_VARIANCE = 1e-4
"""Of what the estimate leaves, in standardised channels: networks stay finite where the estimate is perfect."""


class LinearInpainting(nn.Module):
    """For one target; the averaged encoding until fitted.

    Args:
        width: channels W of the encodings.
    """

    weight: Tensor
    deviation: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(5 * width + 2, width))
        self.register_buffer("deviation", torch.ones(()))

    def features(self, remaining: Remaining, mean: Tensor) -> Tensor:
        """Psi ``(R, L, F)`` of standardised encodings; ``mean`` (R, W, L) is given the other modalities."""
        share = remaining.missing.mean(1)[..., None]
        scarce = share / (remaining.kept[:, None, None] + 1)
        average = remaining.averaged.mean(2)[:, None]
        between = (remaining.interpolated - remaining.averaged).transpose(1, 2)
        parts = [
            between,
            _mean_share(remaining)[:, None, None] * between,
            share * mean.transpose(1, 2),
            share * average,
            scarce * average,
            scarce,
            share,
        ]
        return torch.cat(parts, dim=2)

    def forward(self, remaining: Remaining, mean: Tensor) -> Tensor:
        """The linear estimate ``(R, W, L)``; of rows that aren't partial, ``mean``."""
        estimate = remaining.averaged + (self.features(remaining, mean) @ self.weight).transpose(1, 2)
        return torch.where(remaining.partial[:, None, None], estimate, mean)

    def unit(self, remaining: Remaining) -> Tensor:
        """``(R, 1, 1)``: the deviation of what the estimate leaves; 1 in rows that aren't partial."""
        share = _mean_share(remaining)
        unit = torch.where(remaining.partial & (share > 0), self.deviation * share.sqrt(), 1.0)
        return unit[:, None, None]

    def sums(self) -> InpaintingSums:
        """Empty sums."""
        features, outputs = self.weight.shape
        return InpaintingSums(RidgeSums(features, outputs, self.weight.device))

    def add(self, sums: InpaintingSums, remaining: Remaining, mean: Tensor, clean: Tensor, fold: Tensor) -> None:
        """Add the touched steps of R rows with true encodings ``clean`` (R, W, L) and folds ``fold`` (R,)."""
        rows, steps = (remaining.unknown & remaining.partial[:, None]).nonzero(as_tuple=True)
        rest = (clean - remaining.averaged).transpose(1, 2)[rows, steps]
        sums.ridge.add(self.features(remaining, mean)[rows, steps], rest, fold[rows])
        sums.shares += float(_mean_share(remaining)[rows].sum())

    def solve(self, sums: InpaintingSums) -> None:
        """Set C and d from the sums of all examples."""
        self.weight.copy_(sums.ridge.solution())
        if sums.shares > 0:
            variance = sums.ridge.squared_error(self.weight) / (sums.shares * self.weight.shape[1])
            self.deviation.fill_(max(variance, LEAST_VARIANCE) ** 0.5)


@dataclass
class InpaintingSums:
    """What `LinearInpainting` needs of its examples: those of ridge regression, and the sum of their rows' mean shares."""

    ridge: RidgeSums
    shares: float = 0.0


def _mean_share(remaining: Remaining) -> Tensor:
    """``(R,)``: the mean share of erased frames over unknown steps."""
    share, unknown = remaining.missing.mean(1), remaining.unknown
    return (share * unknown).sum(1) / unknown.sum(1).clamp(min=1)
