r"""The residual denoiser: what the conditional distribution of a code has beyond its Gaussian part.

Diffusion works on w = R^-1 (u - m), the code whitened by its conditional Gaussian: if the Gaussian were true, w would be
standard normal and D(x, sigma) = x / (1 + sigma^2) its exact denoiser. EDM preconditioning gives just that for a network whose
output is 0, and it starts at 0. Draws thus begin as those of the linear-Gaussian model; training adds what validation confirms.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from imder.models.configuration import DROPOUT, POSITIVE_COUNT, Number, check_numbers
from imder.nn.embedding import GaussianFourier

TIME_SCALE = 1.0
"""Deviation of the frequencies with which c_noise = ln(sigma) / 4 is embedded."""


@dataclass(frozen=True)
class DenoiserConfig:
    """Settings of the residual denoisers.

    Attributes:
        hidden: width of the hidden layers.
        blocks: number of residual blocks.
        embedding: width of the noise level's embedding; even.
        dropout: dropout rate in the blocks.
        condition_dropout: dropout rate of the condition's values.
    """

    hidden: int = 256
    blocks: int = 3
    embedding: int = 64
    dropout: float = 0.1
    condition_dropout: float = 0.2

    def __post_init__(self) -> None:
        counts = dict.fromkeys(("hidden", "blocks"), POSITIVE_COUNT)
        rates = dict.fromkeys(("dropout", "condition_dropout"), DROPOUT)
        check_numbers(self, counts | rates | {"embedding": Number(whole=True, least=2)}, "model.network")


class ResidualDenoiser(nn.Module):
    """F(c_in x, c_noise | condition), at first 0.

    Args:
        width: F of the code.
        condition: width of the condition.
        config: see `DenoiserConfig`.
    """

    def __init__(self, width: int, condition: int, config: DenoiserConfig) -> None:
        super().__init__()
        hidden = config.hidden
        self.in_proj = nn.Linear(width, hidden)
        self.condition_dropout = nn.Dropout(config.condition_dropout)
        self.condition_proj = nn.Linear(condition, hidden)
        self.time = nn.Sequential(
            GaussianFourier(config.embedding, TIME_SCALE),
            nn.Linear(config.embedding, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(hidden),
                nn.SiLU(),
                nn.Linear(hidden, hidden),
                nn.SiLU(),
                nn.Dropout(config.dropout),
                nn.Linear(hidden, hidden),
            )
            for _ in range(config.blocks)
        )
        self.norm = nn.LayerNorm(hidden)
        self.out_proj = nn.Linear(hidden, width)
        nn.init.zeros_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def condition(self, condition: Tensor) -> Tensor:
        """The condition ``(B, C)`` as the blocks read it, ``(B, H)``: once for all noise levels."""
        projected: Tensor = self.condition_proj(self.condition_dropout(condition))
        return projected

    def forward(self, x: Tensor, c_noise: Tensor, condition: Tensor) -> Tensor:
        """``(B, F)``, noise levels ``(B,)`` or ``(1,)``, and the result of `condition` -> ``(B, F)``."""
        level = self.time(c_noise)
        hidden = self.in_proj(x) + condition + level
        for block in self.blocks:
            hidden = hidden + block(hidden + level)
        out: Tensor = self.out_proj(torch.nn.functional.silu(self.norm(hidden)))
        return out
