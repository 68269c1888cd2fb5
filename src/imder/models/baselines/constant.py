"""Constant: the training median, or the class frequencies, for every row. The baseline that learns nothing.

It is a system like any other, so that it can be trained, saved and evaluated with them. Its state is one buffer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from imder.data.corpus import best_constant
from imder.models.baselines.closed_form import ClosedForm
from imder.types import Batch, Spec


@dataclass(frozen=True)
class ConstantConfig:
    """There are no settings."""


def constant_of_labels(labels: Tensor, spec: Spec) -> Tensor:
    """`best_constant` of known labels ``(N,)``, as float32 ``(O,)``."""
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
        """Store the constant baseline of the training labels."""
        self.baseline.copy_(constant_of_labels(labels, self.spec))

    def predict_batch(self, batch: Batch) -> Tensor:
        """The constant baseline for every row."""
        return (
            self.baseline.expand(len(batch), -1)
            if self.spec.task == "classification"
            else self.baseline.expand(len(batch))
        )
