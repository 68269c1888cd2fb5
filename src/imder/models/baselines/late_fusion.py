"""Late fusion with modality dropout: a learned token for what is missing, every pattern of availability in every step.

It is the first stage of ``fast`` and its missing-token branch, alone: what IMDer is better than late fusion is what the
later phases are worth, recovery and a second fusion. Settings are the same, and so are the initial weights of a seed: one
training, to the last bit, in which no luck parts the two. A run of one can also be the other's first stage (``--stage1``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from imder.models.baselines.single_phase import PooledSinglePhase
from imder.models.parts.encoder import EncoderConfig
from imder.models.parts.fusions.pooled import AVAILABLE, MISSING, FusionConfig, require_pooled


@dataclass(frozen=True)
class LateFusionConfig:
    """Encoders and fusion as in ``fast``."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)

    def __post_init__(self) -> None:
        require_pooled(self.fusion, "late-fusion")


class LateFusion(PooledSinglePhase):
    """Encoders and the pooled fusion, which is told what is missing."""

    system = "late-fusion"
    config_type = LateFusionConfig
    config: LateFusionConfig

    def fuse(self, encodings: dict[str, Tensor], available: Tensor, rows: Tensor) -> Tensor:
        """Encodings of what is missing are never read: a learned token stands there."""
        state = torch.where(available, AVAILABLE, MISSING)
        out: Tensor = self.fusion(encodings, state, rows[:, None].expand_as(state))
        return out
