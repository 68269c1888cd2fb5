"""Attraction of two views by SimSiam (Chen and He, CVPR 2021).

A vector h has a projection z and a prediction p of the other view's projection. Two views attract each other by

    -(cos(p_1, stop(z_2)) + cos(p_2, stop(z_1))) / 2

where stop() passes no gradient: without it, and without the predictor, all vectors would become one.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F


class RowNorm(nn.BatchNorm1d):
    """Batch normalisation that uses its running statistics where a batch is too small to have any of its own."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, D)`` -> ``(B, D)``; fewer than two rows are normalised as in evaluation mode."""
        if len(x) > 1:
            return super().forward(x)
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class Twin(NamedTuple):
    """What a view of B samples has in common with the other: projections z and predictions p, both ``(B, D)``."""

    projection: Tensor
    prediction: Tensor


class SiameseHead(nn.Module):
    """Projector (linear, normalised) and predictor (a bottleneck) of one kind of vector.

    Args:
        dim: features D of a vector.
        bottleneck: hidden units of the predictor.
    """

    def __init__(self, dim: int, bottleneck: int) -> None:
        super().__init__()
        self.projector = nn.Sequential(nn.Linear(dim, dim), RowNorm(dim, affine=False))
        self.predictor = nn.Sequential(
            nn.Linear(dim, bottleneck, bias=False), RowNorm(bottleneck), nn.ReLU(), nn.Linear(bottleneck, dim)
        )

    def forward(self, x: Tensor) -> Twin:
        """``(B, D)`` -> its projection and prediction."""
        projection = self.projector(x)
        return Twin(projection, self.predictor(projection))


def attraction(first: Twin, second: Twin) -> Tensor:
    """The loss ``(B,)`` of two views, from -1 (each predicts the other's direction) to 1.

    >>> import torch
    >>> same = Twin(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0]]))
    >>> attraction(same, same)
    tensor([-1.])
    """
    one = F.cosine_similarity(first.prediction, second.projection.detach(), dim=1)
    other = F.cosine_similarity(second.prediction, first.projection.detach(), dim=1)
    return -(one + other) / 2
