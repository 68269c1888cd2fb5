r"""Averages of the neighbours' codes: what a Gaussian is told of a dialogue.

    n_k = sum_o |o|^-1 u_k(o) / (1/2 + sum_o |o|^-1)    over the offsets o at which modality k is available

The nearer a neighbour, the more it counts; where few have the modality the average shrinks towards 0, the mean of all codes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from imder.models.parts.context import ContextConfig, Neighbours

PRIOR = 0.5
"""Weight of the mean of all codes."""


def neighbour_codes(
    codes: Mapping[str, Tensor], available: Tensor, near: Neighbours | None, config: ContextConfig
) -> Tensor:
    """The averages of all modalities side by side, ``(B, sum of F_k)``.

    Args:
        codes: ``(B, F_k)`` each.
        available: ``(B, K)`` bool.
        near: the neighbours of the B rows; None for none.
        config: names the offsets of ``near``.
    """
    if near is None:
        return torch.cat([torch.zeros_like(u) for u in codes.values()], dim=1)
    nearness = torch.tensor([1.0 / abs(o) for o in config.offsets[near.columns]], device=near.mask.device)
    parts = []
    for i, code in enumerate(codes.values()):
        weights = nearness * (near.mask & available[near.rows, i])
        total = torch.einsum("bj,bjf->bf", weights, code[near.rows])
        parts.append(total / (PRIOR + weights.sum(1, keepdim=True)))
    return torch.cat(parts, dim=1)
