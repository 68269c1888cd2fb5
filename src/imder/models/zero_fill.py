"""Zero-fill: the same encoders and fusion, missing encodings replaced by zeros, nobody told.

The plainest system that can be trained for missing modalities, and hard to beat. Its distance to IMDer is what recovery,
states and averaging are worth together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from imder.models.base import Loss, Model, Phase, every_subset, start_head, task_loss, to_prediction
from imder.models.encoder import Encoder, EncoderConfig, encode_seen, encoded_steps, fit_features
from imder.models.fusion import AVAILABLE, FusionConfig, PooledFusion
from imder.types import Batch, Output, Spec


@dataclass(frozen=True)
class ZeroFillConfig:
    """Encoders and fusion as in ``fast``."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)


class ZeroFill(Model):
    """Encoders and fusion with zeros for what is missing."""

    system = "zero-fill"
    config: ZeroFillConfig

    def __init__(self, spec: Spec, config: ZeroFillConfig) -> None:
        super().__init__(spec, config)
        self.encoders = nn.ModuleDict({m.name: Encoder(m, config.encoder) for m in spec.modalities})
        steps = {m.name: encoded_steps(m, config.encoder) for m in spec.modalities}
        self.fusion = PooledFusion(steps, config.encoder.width, spec.outputs, config.fusion)

    def _fuse(self, encodings: dict[str, Tensor]) -> Tensor:
        rows = len(next(iter(encodings.values())))
        out: Tensor = self.fusion(encodings, torch.full((rows, len(encodings)), AVAILABLE, device=self.device))
        return out

    def forward(self, batch: Batch) -> Tensor:
        """The head's output ``(B, O)``."""
        return self._fuse(encode_seen(self.encoders, batch, batch.available))

    @classmethod
    def phases(cls, config: ZeroFillConfig) -> tuple[Phase, ...]:
        """One."""
        return ("stage1",)

    def start_from(self, labels: Tensor) -> None:
        """The head begins at the constant floor."""
        start_head(self.fusion.head, labels, self.spec)

    def begin(self, phase: Phase, batches: Iterable[Batch], seed: int, *, strict: bool = False) -> None:
        """Feature statistics."""
        del phase, seed, strict
        fit_features(self.encoders, batches)

    def learning(self, phase: Phase) -> list[nn.Module]:
        """Everything."""
        del phase
        return [self.encoders, self.fusion]

    def losses(self, batch: Batch, phase: Phase, seed: int, *, every: bool = False) -> dict[str, Loss]:
        """The task's."""
        del phase
        assert batch.labels is not None
        encodings, labels = encode_seen(self.encoders, batch, batch.available), batch.labels
        if every:
            rows, masks = every_subset(batch.available, batch.keys, seed)
            labels = labels[rows]
            encodings = {k: e[rows] * masks[:, i, None, None] for i, (k, e) in enumerate(encodings.items())}
        return {"task": task_loss(self._fuse(encodings), labels, self.spec)}

    @torch.no_grad()
    def predict(self, batch: Batch, *, samples: int | None = None, seed: int = 0) -> Output:
        """Deterministic: ``samples`` and ``seed`` change nothing."""
        del samples, seed
        was = self.training
        self.eval()
        prediction = to_prediction(self(batch), self.spec)
        self.train(was)
        return Output(prediction, prediction[None])
