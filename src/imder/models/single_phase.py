"""Deterministic systems that train in one phase: a subclass defines its layers and `forward`, nothing else.

class Average(SinglePhaseModel):
system = "average"
config_type = AverageConfig

def __init__(self, spec, config): ...
def forward(self, batch): ...    # (B, 1) values, or (B, C) logits
"""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from imder.missingness.subsets import every_subset
from imder.models.deterministic import DeterministicModel
from imder.models.parts.losses import Loss, task_loss, to_prediction
from imder.types import Batch


class SinglePhaseModel(DeterministicModel):
    """A system whose `forward` gives the output, trained by the task's loss."""

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """The output for each row: values ``(B, 1)``, or logits ``(B, C)``.

        Only features marked in ``batch.available`` may be read; the others may hold anything.
        """

    def subset_outputs(self, batch: Batch, rows: Tensor, available: Tensor) -> Tensor:
        """The outputs ``(M, O)`` of rows under other masks; a system can override it to encode each row once.

        Args:
            batch: B rows.
            rows: ``(M,)``, row numbers.
            available: ``(M, K)``, the masks: subsets of ``batch.available``.
        """
        output: Tensor = self(batch.take(rows).with_available(available))
        return output

    def losses(self, batch: Batch, phase: str, seed: int, *, all_subsets: bool = False) -> dict[str, Loss]:
        """The task's loss."""
        del phase
        assert batch.labels is not None
        if not all_subsets:
            return {"task": task_loss(self(batch), batch.labels, self.spec)}
        rows, available = every_subset(batch.available, batch.keys, seed)
        return {"task": task_loss(self.subset_outputs(batch, rows, available), batch.labels[rows], self.spec)}

    def predict_batch(self, batch: Batch) -> Tensor:
        """Predictions ``(B,)``, or probabilities ``(B, C)``."""
        return to_prediction(self(batch), self.spec)
