"""How much each pattern of availability relies on the recovery branch, chosen on validation."""

from __future__ import annotations

import torch
from torch import Tensor

BRANCH_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Candidates; the first is no recovery."""


class BranchLosses:
    """Validation losses of every candidate weight, by pattern and sample; a sample may have several rows of a pattern."""

    def __init__(self) -> None:
        self._losses: dict[int, dict[int, list[Tensor]]] = {}

    def add(self, patterns: Tensor, keys: Tensor, losses: Tensor) -> None:
        """Add a batch.

        Args:
            patterns: ``(B,)``, the pattern of each row as a number.
            keys: ``(B,)``, the samples.
            losses: ``(B, len(BRANCH_WEIGHTS))``.
        """
        for pattern, key, row in zip(patterns.tolist(), keys.tolist(), losses, strict=True):
            self._losses.setdefault(pattern, {}).setdefault(key, []).append(row)

    def select(self) -> dict[int, float]:
        """For each pattern, the weight chosen by `select_branch_weight` on the mean losses of its samples."""
        return {
            pattern: select_branch_weight(torch.stack([torch.stack(rows).mean(0) for rows in samples.values()]))
            for pattern, samples in self._losses.items()
        }


def select_branch_weight(losses: Tensor) -> float:
    """The weight of the recovery branch for one pattern.

    The weight of least loss (of ties their mean) if it improves on weight 0 by more than one standard error of the paired
    difference, otherwise 0. A pattern may have only a few dozen validation samples, where the least of five noisy sums is
    often a harmful extreme (the one-standard-error rule, Breiman et al. 1984, towards the simpler model).

    Args:
        losses: ``(N, len(BRANCH_WEIGHTS))``, validation losses of N samples under each candidate.

    >>> losses = torch.tensor([[1.0, 0.9, 0.8, 0.7, 0.6]] * 10)
    >>> select_branch_weight(losses), select_branch_weight(losses[:1])
    (1.0, 0.0)
    """
    total = losses.sum(0)
    best = [i for i in range(len(BRANCH_WEIGHTS)) if total[i] <= total.min()]
    gain = (losses[:, :1] - losses[:, best]).mean(1)  # the first candidate is 0
    if len(gain) < 2 or gain.mean() <= gain.std() / len(gain) ** 0.5:
        return 0.0
    return sum(BRANCH_WEIGHTS[i] for i in best) / len(best)
