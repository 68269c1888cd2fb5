"""Systems that are solved instead of trained: one phase, in which nothing learns by gradient.

`begin` takes what it needs of the training split, `finish` chooses on validation; the solution is in buffers, so that it is
saved, loaded and used as any other system's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from imder.models.base import Deterministic, Phase
from imder.models.parts.losses import Loss, is_labelled, row_losses
from imder.types import Batch


class ClosedForm(Deterministic):
    """What such systems share."""

    @classmethod
    def phases(cls, config: Any) -> tuple[Phase, ...]:
        """One."""
        return ("stage1",)

    def learning(self, phase: Phase) -> list[nn.Module]:
        """Nothing."""
        del phase
        return []

    @torch.no_grad()
    def losses(self, batch: Batch, phase: Phase, seed: int, *, every: bool = False) -> dict[str, Loss]:
        """The task's: absolute errors, or negative log-likelihoods; there is nothing to be learned from it."""
        del phase, seed, every
        assert batch.labels is not None
        rows = row_losses(self.answer(batch), batch.labels, self.spec)
        return {"task": Loss(rows.sum(), float(is_labelled(batch.labels, self.spec).sum()))}
