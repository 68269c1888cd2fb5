r"""The part of a partly erased encoding that is linear in what remains of it, in closed form.

    e_s ~ a_s + C psi_s,    psi_s = [i_s - a_s,  u_s m_s,  u_s b,  u_s b / (n + 1),  u_s / (n + 1),  u_s]

for each step s: a and i are the encodings with erased frames averaged and interpolated (`imder.models.imder.remaining`), u_s
the share of erased frames that step s reads, m the linear mean given the other modalities and neighbours
(`imder.models.imder.linear_mean`), b the mean of a over time, n the number of remaining frames. All of psi_s is 0 where
nothing is erased, so a known step stays as it is. C is shared by all steps and fitted by ridge regression: whether frames
are better interpolated or averaged, and how much the other modalities say, is a matter of the corpus.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imder.models.imder.linear_mean import RidgeSums
from imder.models.imder.remaining import Remaining


class LinearInpainting(nn.Module):
    """For one target; the averaged encoding until fitted.

    Args:
        width: channels W of the encodings.
    """

    weight: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(4 * width + 2, width))

    def features(self, remaining: Remaining, mean: Tensor) -> Tensor:
        """Psi ``(R, L, F)`` of standardised encodings; ``mean`` (R, W, L) is given the other modalities."""
        share = remaining.missing.mean(1)[..., None]
        scarce = share / (remaining.kept[:, None, None] + 1)
        average = remaining.averaged.mean(2)[:, None]
        parts = [
            (remaining.interpolated - remaining.averaged).transpose(1, 2),
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

    def sums(self) -> RidgeSums:
        """Empty sums."""
        features, outputs = self.weight.shape
        return RidgeSums(features, outputs, self.weight.device)

    def add(self, sums: RidgeSums, remaining: Remaining, mean: Tensor, clean: Tensor, fold: Tensor) -> None:
        """Add the touched steps of R rows with true encodings ``clean`` (R, W, L) and folds ``fold`` (R,)."""
        rows, steps = (remaining.unknown & remaining.partial[:, None]).nonzero(as_tuple=True)
        rest = (clean - remaining.averaged).transpose(1, 2)[rows, steps]
        sums.add(self.features(remaining, mean)[rows, steps], rest, fold[rows])

    def solve(self, sums: RidgeSums) -> None:
        """Set C from the sums of all examples."""
        self.weight.copy_(sums.solution())
