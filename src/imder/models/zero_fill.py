"""Zero-fill: the same encoders and fusion, missing encodings replaced by zeros, nobody told.

The plainest system that can be trained for missing modalities, and hard to beat. Its distance to IMDer is what recovery,
states and averaging are worth together.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from imder.models.encoder import EncoderConfig
from imder.models.fusion import AVAILABLE, FusionConfig, PooledFusion
from imder.models.one_stage import OneStage
from imder.types import ImderError, Spec


@dataclass(frozen=True)
class ZeroFillConfig:
    """Encoders and fusion as in ``fast``."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)

    def __post_init__(self) -> None:
        if self.fusion.kind != "pooled":
            raise ImderError("zero-fill has fusion.kind 'pooled'; for the multimodal transformer use the system mult")


class ZeroFill(OneStage):
    """Encoders and fusion with zeros for what is missing."""

    system = "zero-fill"
    config: ZeroFillConfig
    fusion: PooledFusion

    def __init__(self, spec: Spec, config: ZeroFillConfig) -> None:
        super().__init__(spec, config, config.encoder)
        self.fusion = PooledFusion(self.steps, config.encoder.width, spec.outputs, config.fusion)

    def last_layer(self) -> nn.Linear:
        """The fusion's head."""
        return self.fusion.head

    def fuse(self, encodings: dict[str, Tensor], available: Tensor) -> Tensor:
        """Everything is said to be available."""
        out: Tensor = self.fusion(encodings, torch.full_like(available, AVAILABLE, dtype=torch.int64))
        return out
