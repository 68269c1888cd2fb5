"""Constant: the training median, or the class frequencies, whatever is available. What learns nothing scores this.

A system like any other, so that it can be trained, saved and evaluated beside the others. It is one buffer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from imder.data.corpus import best_constant
from imder.models.base import Phase
from imder.models.baselines.closed_form import ClosedForm
from imder.types import Batch, Spec


@dataclass(frozen=True)
class ConstantConfig:
    """There is nothing to choose."""


def constant_of_labels(labels: Tensor, spec: Spec) -> Tensor:
    """`best_constant` of labels ``(N,)``, all known, as float32 ``(O,)``."""
    return torch.from_numpy(best_constant(labels.cpu().numpy(), spec)).float()


class Constant(ClosedForm):
    """Predicts the constant baseline."""

    system = "constant"
    config_type = ConstantConfig
    config: ConstantConfig
    baseline: Tensor

    def __init__(self, spec: Spec, config: ConstantConfig) -> None:
        super().__init__(spec, config)
        self.register_buffer("baseline", torch.zeros(spec.outputs))

    def init_output_bias(self, labels: Tensor) -> None:
        """All there is to it."""
        self.baseline.copy_(constant_of_labels(labels, self.spec))

    def on_phase_start(
        self, phase: Phase, batches: Iterable[Batch], seed: int, *, permanently_missing: bool = False
    ) -> None:
        """No feature is looked at."""
        del phase, batches, seed, permanently_missing

    def predict_batch(self, batch: Batch) -> Tensor:
        """The constant baseline, for every row."""
        return (
            self.baseline.expand(len(batch), -1)
            if self.spec.task == "classification"
            else self.baseline.expand(len(batch))
        )
