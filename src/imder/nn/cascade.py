r"""Cascade residual autoencoder: a sequence of small autoencoders, each correcting the residual of those before it.

Tran et al. (CVPR 2017); as in MMIN (Zhao, Li, Jin, ACL 2021) and its official code. With x (B, W) and blocks
b = 1 ... N,

    u_1 = x,   z_b = Enc_b(u_b),   u_{b+1} = u_b + Dec_b(z_b)
    y = W_2 relu(W_1 u_{N+1} + b_1) + b_2,   z = [z_1 ... z_N]

Enc_b: linear layers W -> layers[0] -> ... -> layers[-1], LeakyReLU between them; Dec_b: the same widths back to W, ReLU
between them. y is the restored input; z, the latents of all blocks, is what a prediction reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


def _chain(widths: Sequence[int], between: type[nn.Module]) -> nn.Sequential:
    """Linear layers of the given widths with an activation between any two."""
    layers: list[nn.Module] = []
    for first, second in pairwise(widths):
        layers += [nn.Linear(first, second), between()]
    return nn.Sequential(*layers[:-1])


class CascadeAutoencoder(nn.Module):
    """``(B, W)`` -> the restored input ``(B, W)`` and the latent ``(B, latent)``.

    Args:
        width: W.
        layers: of each encoder; decoders mirror it.
        blocks: autoencoders in the cascade.

    Attributes:
        latent: blocks times the last of the layers.

    >>> restored, latent = CascadeAutoencoder(12, (8, 4), 3)(torch.zeros(2, 12))
    >>> tuple(restored.shape), tuple(latent.shape)
    ((2, 12), (2, 12))
    """

    def __init__(self, width: int, layers: Sequence[int] = (256, 128, 64), blocks: int = 5) -> None:
        super().__init__()
        widths = [width, *layers]
        self.latent = blocks * layers[-1]
        self.encoders = nn.ModuleList(_chain(widths, nn.LeakyReLU) for _ in range(blocks))
        self.decoders = nn.ModuleList(_chain(widths[::-1], nn.ReLU) for _ in range(blocks))
        self.transition = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Restore ``(B, W)``; see the class."""
        latents = []
        for encode, decode in zip(self.encoders, self.decoders, strict=True):
            latents.append(encode(x))
            x = x + decode(latents[-1])
        return self.transition(x), torch.cat(latents, dim=1)
