"""Subsets of a sample's available modalities, enumerated for training, and their numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from imder.diffusion import KeyedNoise
from imder.types import ImderError


def check_available(available: Tensor) -> None:
    """Raise `ImderError` for a row of ``available`` (B, K) without any True."""
    if not bool(available.any(1).all()):
        raise ImderError("a sample has no available modality: nothing can be predicted for it")


def every_subset(available: Tensor, keys: Tensor, seed: int = 0, limit: int = 15) -> tuple[Tensor, Tensor]:
    """Every non-empty subset of each row's available modalities; ``limit`` random ones for a row that has more.

    Random subsets belong to (seed, key): a row has the same in every batch.

    Args:
        available: ``(B, K)`` bool.
        keys: ``(B,)``.
        seed: of the random subsets.
        limit: the most subsets of a row.

    Returns:
        Row numbers ``(M,)`` and masks ``(M, K)``.

    >>> rows, masks = every_subset(torch.tensor([[True, True], [False, True]]), torch.arange(2))
    >>> rows.tolist(), masks.tolist()
    ([0, 1, 0, 0], [[False, True], [False, True], [True, False], [True, True]])
    """
    count = available.shape[1]
    if 2**count - 1 <= limit:
        bits = torch.arange(1, 2**count, device=available.device)
        subsets = (bits[:, None] >> torch.arange(count, device=bits.device).flip(0)) & 1 > 0
        whole = ~(subsets[:, None] & ~available[None]).any(2)
        pattern, rows = whole.nonzero(as_tuple=True)
        return rows, subsets[pattern]
    subsets_of = 2 ** available.sum(1) - 1
    index = torch.arange(limit, device=keys.device)[:, None]
    # Uniform draws lie in (0, 1]: one less than their ceiling is a whole number below the count.
    drawn = (KeyedNoise(keys, seed).uniform((len(keys), limit)).T * subsets_of).ceil().long() - 1
    number = torch.where(subsets_of <= limit, index, drawn) + 1  # (limit, B); bit i: a row's i-th available modality
    masks = available & ((number[..., None] >> (available.cumsum(1) - 1).clamp(min=0)) & 1 > 0)
    pattern, rows = (index < subsets_of).nonzero(as_tuple=True)
    return rows, masks[pattern, rows]


def pattern_bits(available: Tensor) -> Tensor:
    """``(B,)``: availability ``(B, K)`` as one number, modality k at bit k."""
    return (available.long() << torch.arange(available.shape[1], device=available.device)).sum(1)
