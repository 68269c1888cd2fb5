"""Standardisation that travels with the weights.

Statistics belong to the model: those of the training frames that are present and valid. They are buffers, so a saved
model needs no corpus to be used. A column that never varies is only centred.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Standardizer(nn.Module):
    """x -> (x - mean) / std along the last axis of ``(..., D)``; the identity until fitted."""

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Standardise ``(..., D)``."""
        return (x - self.mean) / self.std

    def inverse(self, x: Tensor) -> Tensor:
        """Undo `forward`."""
        return x * self.std + self.mean

    @torch.no_grad()
    def fit(self, chunks: Iterable[Tensor]) -> None:
        """Take mean and deviation of all rows of ``(n, D)`` chunks (merged as in Chan et al. 1979, in float64)."""
        count, mean = 0, torch.zeros_like(self.mean, dtype=torch.float64)
        total = torch.zeros_like(mean)
        for chunk in chunks:
            if len(chunk) == 0:
                continue
            x = chunk.double()
            n, chunk_mean = len(x), x.mean(0)
            delta = chunk_mean - mean
            total = total + (x - chunk_mean).square().sum(0) + delta.square() * (count * n / (count + n))
            mean = mean + delta * (n / (count + n))
            count += n
        if count == 0:
            return
        std = (total / count).sqrt()
        constant = std <= 1e-6 * mean.abs().clamp(min=1e-6)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(constant, torch.ones_like(std), std))
