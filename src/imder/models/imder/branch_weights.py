"""How much each pattern of availability relies on the recovery branch, chosen on validation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BRANCH_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Candidates; the first is no recovery."""


LEAST_SAMPLES = 30
"""A pattern with fewer validation samples isn't judged: its weight is 0."""


class BranchLosses:
    """Validation losses of every candidate weight, by pattern and sample; a sample may have several rows of a pattern."""

    def __init__(self) -> None:
        self._losses: dict[int, dict[int, list[Tensor]]] = {}

    def add(self, patterns: Tensor, keys: Tensor, losses: Tensor, control: Tensor) -> None:
        """Add a batch.

        Args:
            patterns: ``(B,)``, the pattern of each row as a number.
            keys: ``(B,)``, the samples.
            losses: ``(B, len(BRANCH_WEIGHTS))`` of the recovery branch.
            control: ``(B, len(BRANCH_WEIGHTS))`` of the control branch.
        """
        both = torch.stack([losses, control], dim=1).cpu()  # one copy, rather than many small operations on a device
        for pattern, key, row in zip(patterns.tolist(), keys.tolist(), both, strict=True):
            self._losses.setdefault(pattern, {}).setdefault(key, []).append(row)

    def select(self) -> dict[int, float]:
        """For each pattern, the weight chosen by `select_branch_weight` on the mean losses of its samples."""
        chosen = {}
        for pattern, samples in self._losses.items():
            losses = torch.stack([torch.stack(rows).mean(0) for rows in samples.values()])
            chosen[pattern] = select_branch_weight(losses[:, 0], losses[:, 1])
        return chosen


LEAST_GAIN = 0.01
"""The share of the control's loss that recoveries must save. Two trainings of one branch differ by about half of that, which the
standard error over samples doesn't show."""


def select_branch_weight(losses: Tensor, control: Tensor) -> float:
    """The weight of the recovery branch for one pattern.

    The weight of least loss (of ties their mean) counts if it improves on weight 0 by more than one standard error of the
    paired difference (the one-standard-error rule, Breiman et al. 1984, towards the simpler model), and on the control at *its*
    best weight by more than two standard errors and `LEAST_GAIN`; otherwise the weight is 0. The control is the same branch,
    trained in the same way on zeros in place of recoveries: what it gains as well isn't due to recovery.

    Args:
        losses: ``(N, len(BRANCH_WEIGHTS))``, validation losses of N samples under each candidate.
        control: the same of the control.

    >>> losses = torch.tensor([[1.0, 0.9, 0.8, 0.7, 0.6]] * 40)
    >>> select_branch_weight(losses, torch.ones(40, 5)), select_branch_weight(losses, losses)
    (1.0, 0.0)
    >>> select_branch_weight(losses[:20], torch.ones(20, 5))
    0.0
    """
    if len(losses) < LEAST_SAMPLES:
        return 0.0
    total = losses.sum(0)
    best = [i for i in range(len(BRANCH_WEIGHTS)) if total[i] <= total.min()]
    chosen = losses[:, best].mean(1)
    without, rival = losses[:, 0], control[:, control.sum(0).argmin()]  # the first candidate is 0
    gain, over_control = without - chosen, rival - chosen
    if gain.mean() <= _standard_error(gain):
        return 0.0
    if over_control.mean() <= max(2 * _standard_error(over_control), LEAST_GAIN * float(rival.mean())):
        return 0.0
    return sum(BRANCH_WEIGHTS[i] for i in best) / len(best)


def _standard_error(values: Tensor) -> float:
    return float(values.std()) / math.sqrt(len(values))
