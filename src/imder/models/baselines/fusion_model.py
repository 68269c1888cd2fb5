"""Systems that train encoders and a fusion together, in one phase, for every pattern of availability.

    e_k = E_k(x_k)   where modality k is available, 0 elsewhere        (`imder.models.parts.encoder`)
    y   = fusion(e_1 ... e_K, available)                               (`imder.models.parts.fusions`)

They differ in the fusion and in whether it is told what is missing. Nothing is sampled and nothing is recovered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from imder.models.base import Phase
from imder.models.parts.encoder import Encoder, EncoderConfig, encode_masked, encoded_steps, fit_features
from imder.models.parts.fusions import build_fusion
from imder.models.parts.fusions.base import AVAILABLE, MISSING, FusionConfig
from imder.models.parts.losses import init_head_bias
from imder.models.single_phase import SinglePhaseModel
from imder.nn.module_dict import ModuleDict
from imder.types import Batch, Spec


class FusionModelConfig(Protocol):
    """A configuration with these parts."""

    @property
    def encoder(self) -> EncoderConfig:
        """Of every modality's encoder."""
        ...

    @property
    def fusion(self) -> FusionConfig:
        """Of the fusion."""
        ...


class FusionModel(SinglePhaseModel):
    """Encoders and a fusion that is told what is missing, if its kind reads states."""

    config: FusionModelConfig

    def __init__(self, spec: Spec, config: FusionModelConfig) -> None:
        super().__init__(spec, config)
        self.encoders = ModuleDict[Encoder]({m.name: Encoder(m, config.encoder) for m in spec.modalities})
        self.steps = {m.name: encoded_steps(m, config.encoder) for m in spec.modalities}
        self.fusion = build_fusion(self.steps, config.encoder.width, spec.outputs, config.fusion)

    def fuse(self, encodings: Mapping[str, Tensor], available: Tensor, rows: Tensor) -> Tensor:
        """The output for some rows, each under one or several patterns of availability.

        Args:
            encodings: of N rows, ``(N, width, steps_k)``; 0 where a row lacks the modality.
            available: ``(B, K)`` bool.
            rows: ``(B,)``, which of the N rows is meant.

        Returns:
            ``(B, O)``.
        """
        state = torch.where(available, AVAILABLE, MISSING)
        output: Tensor = self.fusion(encodings, state, rows[:, None].expand_as(state))
        return output

    def forward(self, batch: Batch) -> Tensor:
        """The output ``(B, O)``."""
        rows = torch.arange(len(batch), device=batch.available.device)
        return self.subset_outputs(batch, rows, batch.available)

    def subset_outputs(self, batch: Batch, rows: Tensor, available: Tensor) -> Tensor:
        """The outputs of rows under subsets of their modalities; each row is encoded once."""
        return self.fuse(encode_masked(self.encoders, batch, batch.available), available, rows)

    def init_output_bias(self, labels: Tensor) -> None:
        """Start the fusion's head at the constant baseline."""
        init_head_bias(self.fusion.head, labels, self.spec)

    def on_phase_start(
        self, phase: Phase, batches: Iterable[Batch], seed: int, *, permanently_missing: bool = False
    ) -> None:
        """Fit the feature statistics."""
        del phase, seed, permanently_missing
        fit_features({k: e.standardize for k, e in self.encoders.items()}, batches)
