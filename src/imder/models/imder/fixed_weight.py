"""A trained IMDer with another weight of recovery, for a while: to see what recovery changes in its predictions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from imder.models.imder.network import IMDerNetwork


@contextmanager
def fixed_recovery_weight(model: IMDerNetwork, weight: float) -> Iterator[None]:
    """Give recovery the same weight for every pattern of availability for a block.

    With 0 a model of two branches predicts from its missing-token branch alone, and one of one branch from encodings that are
    zero where a modality is missing.

    Args:
        model: its weights are restored at the end.
        weight: in [0, 1].
    """
    before = model.branch_weight.clone()
    try:
        model.branch_weight.fill_(weight)
        yield
    finally:
        model.branch_weight.copy_(before)
