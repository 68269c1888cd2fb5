"""Zero-fill: the same encoders and fusion, missing encodings replaced by zeros, nobody told.

The plainest system that can be trained for missing modalities, and hard to beat. Its distance to IMDer is what recovery,
states and averaging are worth together.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from imder.models.baselines.single_phase import PooledSinglePhase
from imder.models.parts.encoder import EncoderConfig
from imder.models.parts.fusions.pooled import AVAILABLE, FusionConfig, require_pooled


@dataclass(frozen=True)
class ZeroFillConfig:
    """Encoders and fusion as in ``fast``."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)

    def __post_init__(self) -> None:
        require_pooled(self.fusion, "zero-fill")


class ZeroFill(PooledSinglePhase):
    """Encoders and fusion with zeros for what is missing."""

    system = "zero-fill"
    config_type = ZeroFillConfig
    config: ZeroFillConfig

    def fuse(self, encodings: dict[str, Tensor], available: Tensor, rows: Tensor) -> Tensor:
        """Everything is said to be available; one more encoding, of zeros, stands for all that is missing."""
        zeros = len(next(iter(encodings.values())))
        padded = {k: torch.cat([e, torch.zeros_like(e[:1])]) for k, e in encodings.items()}
        state = torch.full_like(available, AVAILABLE, dtype=torch.int64)
        out: Tensor = self.fusion(padded, state, torch.where(available, rows[:, None], zeros))
        return out
