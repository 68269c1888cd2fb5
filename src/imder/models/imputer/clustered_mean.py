"""A mean and its standard error where values come in groups."""

from __future__ import annotations

import torch
from torch import Tensor


def clustered_mean(values: Tensor, keys: Tensor) -> tuple[float, float]:
    """The mean of the means of values ``(n,)`` with equal ``keys``, and its standard error: infinite for a single key.

    A clip is validated under several masks with the same noise: only clips are independent.

    >>> clustered_mean(torch.tensor([1.0, 1.0, 1.0, 3.0]), torch.tensor([5, 5, 5, 9]))
    (2.0, 1.0)
    """
    _, clip, counts = torch.unique(keys, return_inverse=True, return_counts=True)
    means = (
        torch.zeros(len(counts), dtype=torch.float64, device=values.device).index_add_(0, clip, values.double())
        / counts
    )
    error = float(means.std()) / len(means) ** 0.5 if len(means) > 1 else float("inf")
    return float(means.mean()), error
