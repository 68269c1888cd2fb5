"""Systems that are solved instead of trained: one phase without any gradient.

`on_phase_start` reads the training split, `on_phase_end` chooses on validation. The solution is in buffers, so that it is
saved, loaded and used like any other system's weights.
"""

from __future__ import annotations

import torch
from torch import nn

from imder.models.base import Phase
from imder.models.deterministic import DeterministicModel
from imder.models.parts.losses import Loss, is_labelled, row_losses
from imder.types import Batch


class ClosedForm(DeterministicModel):
    """A system without trainable modules; a subclass defines `predict_batch` and fits its buffers."""

    def trainable_modules(self, phase: Phase) -> list[nn.Module]:
        """None: nothing is trained by gradient."""
        del phase
        return []

    @torch.no_grad()
    def losses(self, batch: Batch, phase: Phase, seed: int, *, all_subsets: bool = False) -> dict[str, Loss]:
        """Absolute errors or negative log-likelihoods, without gradients: for validation."""
        del phase, seed, all_subsets
        assert batch.labels is not None
        rows = row_losses(self.predict_batch(batch), batch.labels, self.spec)
        return {"task": Loss(rows.sum(), float(is_labelled(batch.labels, self.spec).sum()))}
