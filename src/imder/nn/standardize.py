"""Standardisation whose statistics are saved with the weights.

The statistics are those of the present, valid training frames. They are buffers, so that a saved model needs no corpus. A
constant column is only centred, and so is one whose deviation is below `NEGLIGIBLE` times its own mean or the median
deviation of all columns: such variation is rounding (stored features are often half-precision), and dividing by it would
scale noise up to the level of the signal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

NEGLIGIBLE = 1e-6
FARTHEST = 1e6
"""Bound of standardised values, in deviations: real features stay far below it, and networks stay finite up to it."""


class Standardizer(nn.Module):
    """x -> (x - mean) / std along the last axis of ``(..., D)``, within +- `FARTHEST`; the identity until fitted."""

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    @property
    def is_fitted(self) -> bool:
        """Whether it has statistics, or is the identity."""
        return bool((self.mean != 0).any() or (self.std != 1).any())

    def forward(self, x: Tensor) -> Tensor:
        """Standardise ``(..., D)``."""
        return ((x - self.mean) / self.std).clamp(-FARTHEST, FARTHEST)

    def inverse(self, x: Tensor) -> Tensor:
        """Undo `forward`."""
        return x * self.std + self.mean

    def fit(self, chunks: Iterable[Tensor]) -> None:
        """Fit mean and deviation to all rows of ``(n, D)`` chunks."""
        fit_together({"": self}, ({"": chunk} for chunk in chunks))


@torch.no_grad()
def fit_together(standardizers: Mapping[str, Standardizer], chunks: Iterable[Mapping[str, Tensor]]) -> None:
    """Fit several standardisers in one pass (merged in float64, Chan et al. 1979).

    Args:
        standardizers: by name; one without rows stays as it is.
        chunks: rows ``(n, D)`` by name.
    """
    count = dict.fromkeys(standardizers, 0)
    mean = {k: torch.zeros_like(s.mean, dtype=torch.float64) for k, s in standardizers.items()}
    total = {k: torch.zeros_like(m) for k, m in mean.items()}
    for rows in chunks:
        for k, chunk in rows.items():
            if not len(chunk):
                continue
            x = chunk.double()
            n, chunk_mean = len(x), x.mean(0)
            delta = chunk_mean - mean[k]
            total[k] += (x - chunk_mean).square().sum(0) + delta.square() * (count[k] * n / (count[k] + n))
            mean[k] += delta * (n / (count[k] + n))
            count[k] += n
    for k, standardizer in standardizers.items():
        if not count[k]:
            continue
        std = (total[k] / count[k]).sqrt()
        typical = std[std > 0].median() if bool((std > 0).any()) else std.new_zeros(())
        constant = std <= (NEGLIGIBLE * torch.maximum(mean[k].abs(), typical)).clamp(
            min=torch.finfo(torch.float32).tiny
        )
        standardizer.mean.copy_(mean[k])
        standardizer.std.copy_(torch.where(constant, torch.ones_like(std), std))
