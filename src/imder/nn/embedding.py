r"""Numbers as vectors: the position of a step in a sequence, and the time of the diffusion.

*Positions* (tensor2tensor layout): position p in width C has angles p f_i with f_i = 10000^(-i / (C/2 - 1)),
i = 0 ... C/2 - 1, and is written as [sin(p f_0) ... sin(p f_{C/2-1}), cos(p f_0) ... cos(p f_{C/2-1})]: first half
sines, second half cosines. Positions count from 1; "no position" is the zero vector.

*Diffusion time* (Gaussian random features; Tancik et al. 2020): phi(t) = [sin(2 pi w t), cos(2 pi w t)] with fixed
frequencies w ~ N(0, scale^2), drawn once and saved with the weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from imder.types import ImderError


def sinusoidal_positions(length: int, width: int, device: torch.device | None = None) -> Tensor:
    """Embeddings of the positions 1 ... length: ``(length, width)`` float32 (an odd width ends in a zero).

    >>> sinusoidal_positions(2, 4).round(decimals=2)
    tensor([[ 0.8400,  0.0000,  0.5400,  1.0000],
            [ 0.9100,  0.0000, -0.4200,  1.0000]])
    """
    half = width // 2
    exponents = torch.arange(half, device=device, dtype=torch.float32) / max(half - 1, 1)
    positions = torch.arange(1, length + 1, device=device, dtype=torch.float32)
    angles = positions[:, None] * torch.exp(-math.log(10000.0) * exponents)
    table = torch.cat([angles.sin(), angles.cos()], dim=1)
    return table if width % 2 == 0 else torch.nn.functional.pad(table, (0, 1))


class GaussianFourier(nn.Module):
    """Fixed random Fourier features of a scalar: [sin 2 pi W t, cos 2 pi W t].

    Args:
        dim: width of the features; even (`ImderError` otherwise).
        scale: standard deviation of the frequencies ``W``, a buffer of ``dim / 2`` values saved with the weights.
        generator: draws the frequencies; None for torch's own.
    """

    W: Tensor

    def __init__(self, dim: int, scale: float = 30.0, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if dim < 2 or dim % 2:
            raise ImderError(f"Fourier features come in pairs: dim must be even and positive, got {dim}")
        self.register_buffer("W", scale * torch.randn(dim // 2, generator=generator))

    def forward(self, t: Tensor) -> Tensor:
        """``(B,)`` -> ``(B, dim)``."""
        angles = 2.0 * math.pi * t[:, None] * self.W
        return torch.cat([angles.sin(), angles.cos()], dim=-1)
