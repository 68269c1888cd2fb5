"""Systems that are solved instead of trained: one phase, in which nothing learns by gradient.

`on_phase_start` takes what it needs of the training split, `on_phase_end` chooses on validation; the solution is in buffers, so that it is
saved, loaded and used as any other system's.
"""

from __future__ import annotations

import torch
from torch import nn

from imder.models.base import DeterministicModel, Phase
from imder.models.parts.losses import Loss, is_labelled, row_losses
from imder.types import Batch


class ClosedForm(DeterministicModel):
    """What such systems share."""

    def trainable_modules(self, phase: Phase) -> list[nn.Module]:
        """Nothing."""
        del phase
        return []

    @torch.no_grad()
    def losses(self, batch: Batch, phase: Phase, seed: int, *, all_subsets: bool = False) -> dict[str, Loss]:
        """The task's: absolute errors, or negative log-likelihoods; there is nothing to be learned from it."""
        del phase, seed, all_subsets
        assert batch.labels is not None
        rows = row_losses(self.predict_batch(batch), batch.labels, self.spec)
        return {"task": Loss(rows.sum(), float(is_labelled(batch.labels, self.spec).sum()))}
