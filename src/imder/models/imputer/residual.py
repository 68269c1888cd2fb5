r"""What a code leaves out, as noise: correlated across channels, and along time a stationary AR(1) process in each channel.

    correlated   w = L f + d g,              f ~ N(0, I_r), g ~ N(0, I_D)
    along time   e_t = rho e_{t-1} + sqrt(1 - rho^2) w_t

L L^T + d^2 is the covariance of the training rows: their correlation, shrunk towards I (Ledoit and Wolf, 2004), by its r
leading eigenvectors, and the diagonal exactly.

A clip's rho follows from its variance v = mean (e_t - mean e)^2 and its roughness q = mean (e_t - e_{t-1})^2. For T frames

    q / v = 2 (1 - rho) / a_T(rho),    a_T(rho) = 1 - T^-2 sum_ij rho^|i-j|

in expectation, which decreases in rho and is solved by bisection. T = 2 says nothing about rho.
"""

from __future__ import annotations

import torch
from sklearn.covariance import ledoit_wolf_shrinkage
from torch import Tensor, nn

from imder.diffusion.noise import KeyedNoise

MOST_RHO = 0.98
BISECTIONS = 24
MOST_ROWS = 4096
"""Rows that covariances are fitted to."""


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
        x = rows.double()
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

    def sample(self, noise: KeyedNoise, shape: tuple[int, ...]) -> Tensor:
        """Draws ``(*shape, D)``; ``shape`` starts with the rows of ``noise``."""
        dim, rank = self.factors.shape
        draws = noise.normal((*shape, rank)) @ self.factors.T
        return draws if rank == dim else torch.addcmul(draws, noise.normal((*shape, dim)), self.rest)


def autoregressive(innovations: Tensor, rho: Tensor) -> Tensor:
    """AR(1) processes ``(R, T, D)`` of deviation 1 with autocorrelations ``(R, D)``, from innovations of deviation 1."""
    out = torch.empty_like(innovations)
    scale = (1 - rho.square()).sqrt()
    state = out[:, 0] = innovations[:, 0]
    for t in range(1, innovations.shape[1]):
        state = out[:, t] = torch.addcmul(rho * state, scale, innovations[:, t])
    return out


def variance_share(rho: Tensor, lengths: Tensor) -> Tensor:
    """a_T(rho): the expected variance about a clip's own mean, of an AR(1) process with variance 1; float64.

    >>> variance_share(torch.tensor([0.0, 0.9]), torch.tensor([4, 1])).tolist()
    [0.75, 0.0]
    """
    rho, frames = rho.double(), lengths.double()
    near = 2 * rho * (1 - rho**frames) / (1 - rho).square()
    return (1 - (frames * (1 + rho) / (1 - rho) - near) / frames.square()).clamp(min=0).nan_to_num()


def autocorrelation(ratio: Tensor, lengths: Tensor) -> Tensor:
    """Rho of clips with roughness / variance ``ratio`` and ``lengths`` of at least 3, at most `MOST_RHO` either way."""
    low, high = torch.full_like(ratio, -MOST_RHO).double(), torch.full_like(ratio, MOST_RHO).double()
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        rougher = 2 * (1 - middle) > ratio * variance_share(middle, lengths)
        low, high = torch.where(rougher, middle, low), torch.where(rougher, high, middle)
    return ((low + high) / 2).to(ratio)
