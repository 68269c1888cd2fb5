"""Systems that train encoders and a fusion at once, in a single phase, for every pattern of availability.

    e_k = E_k(x_k)   where modality k is available, 0 elsewhere        (`imder.models.parts.encoder`)
    y   = fusion(e_1 ... e_K, available)

They differ in the fusion, and in whether it is told what is missing. Nothing is sampled and nothing is recovered.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from imder.missingness.subsets import every_subset
from imder.models.base import DeterministicModel, Phase
from imder.models.parts.encoder import Encoder, EncoderConfig, encode_seen, encoded_steps, fit_features
from imder.models.parts.fusions.pooled import PooledFusion
from imder.models.parts.losses import Loss, init_head_bias, task_loss, to_prediction
from imder.types import Batch, Spec


class SinglePhase(DeterministicModel):
    """Encoders and a fusion.

    Args:
        spec: of the corpus.
        config: of the system.
        encoder: of every modality's encoder.
    """

    fusion: nn.Module

    def __init__(self, spec: Spec, config: Any, encoder: EncoderConfig) -> None:
        super().__init__(spec, config)
        self.encoders = nn.ModuleDict({m.name: Encoder(m, encoder) for m in spec.modalities})
        self.steps = {m.name: encoded_steps(m, encoder) for m in spec.modalities}

    @abstractmethod
    def fuse(self, encodings: dict[str, Tensor], available: Tensor, rows: Tensor) -> Tensor:
        """The output for some clips, each under one or several patterns of availability.

        Args:
            encodings: of N clips, ``(N, width, steps_k)``.
            available: ``(B, K)`` bool: what may be seen; encodings are 0 where a clip lacks it.
            rows: ``(B,)``, whose encodings are meant.

        Returns:
            ``(B, O)``.
        """

    @abstractmethod
    def last_layer(self) -> nn.Linear:
        """What gives the output; its bias begins at the constant baseline."""

    def forward(self, batch: Batch) -> Tensor:
        """The output ``(B, O)``."""
        everything = torch.arange(len(batch), device=batch.available.device)
        return self.fuse(encode_seen(self.encoders, batch, batch.available), batch.available, everything)

    def init_output_bias(self, labels: Tensor) -> None:
        """The last layer begins at the constant baseline."""
        init_head_bias(self.last_layer(), labels, self.spec)

    def on_phase_start(
        self, phase: Phase, batches: Iterable[Batch], seed: int, *, permanently_missing: bool = False
    ) -> None:
        """Feature statistics."""
        del phase, seed, permanently_missing
        fit_features(self.encoders, batches)

    def trainable_modules(self, phase: Phase) -> list[nn.Module]:
        """Everything."""
        del phase
        return [self.encoders, self.fusion]

    def losses(self, batch: Batch, phase: Phase, seed: int, *, all_subsets: bool = False) -> dict[str, Loss]:
        """The task's."""
        del phase
        assert batch.labels is not None
        if not all_subsets:
            return {"task": task_loss(self(batch), batch.labels, self.spec)}
        rows, available = every_subset(batch.available, batch.keys, seed)
        encodings = encode_seen(self.encoders, batch, batch.available)  # once, however many subsets of a row there are
        return {"task": task_loss(self.fuse(encodings, available, rows), batch.labels[rows], self.spec)}

    def predict_batch(self, batch: Batch) -> Tensor:
        """What the output says."""
        return to_prediction(self(batch), self.spec)


class PooledSinglePhase(SinglePhase):
    """Encoders and the pooled fusion of ``fast``.

    Args:
        spec: of the corpus.
        config: with ``encoder`` and ``fusion``.
    """

    fusion: PooledFusion

    def __init__(self, spec: Spec, config: Any) -> None:
        super().__init__(spec, config, config.encoder)
        self.fusion = PooledFusion(self.steps, config.encoder.width, spec.outputs, config.fusion)

    def last_layer(self) -> nn.Linear:
        """The fusion's head."""
        return self.fusion.head
