r"""Gaussian noise with the covariance of training rows: common factors and a diagonal.

    w = L f + d g,    f ~ N(0, I_r), g ~ N(0, I_D)

L L^T + d^2 has the rows' variances exactly and their correlation, shrunk towards I (Ledoit and Wolf, 2004), by its r leading
eigenvectors.
"""

from __future__ import annotations

import torch
from sklearn.covariance import ledoit_wolf_shrinkage
from torch import Tensor, nn

from imder.diffusion.noise import KeyedNoise

MOST_ROWS = 4096
"""Rows, at regular intervals, that correlations are fitted to."""


class CorrelatedNoise(nn.Module):
    """Gaussian noise of ``dim`` channels; 0 until fitted.

    Args:
        dim: D.
        rank: largest r.
    """

    factors: Tensor
    rest: Tensor

    def __init__(self, dim: int, rank: int) -> None:
        super().__init__()
        self.register_buffer("factors", torch.zeros(dim, min(dim, rank)))
        self.register_buffer("rest", torch.zeros(dim))

    def fit(self, rows: Tensor, unit: bool = False) -> None:
        """Fit to ``(n, D)`` rows about 0; with ``unit`` their correlation alone, deviation 1 in every channel."""
        x = rows.cpu().double()
        deviation = x.square().mean(0).sqrt() if len(x) else x.new_zeros(x.shape[1])
        x = x[:: max(1, -(-len(x) // MOST_ROWS))] / torch.where(deviation > 0, deviation, 1.0)
        correlation = torch.eye(x.shape[1], dtype=torch.float64)
        if len(x) > 1:
            shrinkage = float(ledoit_wolf_shrinkage(x.numpy(), assume_centered=True))
            correlation = (1 - shrinkage) * x.T @ x / len(x) + shrinkage * correlation
            scale = correlation.diagonal().clamp(min=1e-12).rsqrt()
            correlation = correlation * scale * scale[:, None]
        values, vectors = torch.linalg.eigh(correlation)
        rank = self.factors.shape[1]
        factors = vectors[:, -rank:] * values[-rank:].clamp(min=0).sqrt()
        rest = (1 - factors.square().sum(1)).clamp(min=0).sqrt()
        scale = torch.ones_like(deviation) if unit else deviation
        self.factors.copy_(scale[:, None] * factors)
        self.rest.copy_(scale * rest)

    def sample(self, noise: KeyedNoise, rows: int) -> Tensor:
        """A draw ``(rows, D)``, a row for each of ``noise``."""
        dim, rank = self.factors.shape
        draws = noise.normal((rows, rank)) @ self.factors.T
        return draws if rank == dim else torch.addcmul(draws, noise.normal((rows, dim)), self.rest)
