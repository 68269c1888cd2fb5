"""Zero-fill: encoders and fusion, missing encodings replaced by zeros, and the fusion told that all is available.

The simplest system that can be trained for missing modalities, and hard to beat. Its distance to IMDer is the gain of
recovery, states and averaging together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from imder.models.baselines.fusion_model import FusionModel
from imder.models.parts.encoder import EncoderConfig
from imder.models.parts.fusions.base import AVAILABLE, FusionConfig


@dataclass(frozen=True)
class ZeroFillConfig:
    """Encoders and fusion; the defaults are those of ``fast``."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)


class ZeroFill(FusionModel):
    """Encoders and fusion with zeros for missing encodings."""

    system = "zero-fill"
    config_type = ZeroFillConfig
    config: ZeroFillConfig

    def fuse(self, encodings: Mapping[str, Tensor], available: Tensor, rows: Tensor) -> Tensor:
        """See the base class; one more encoding, of zeros, stands for every missing one."""
        zeros = len(next(iter(encodings.values())))
        padded = {k: torch.cat([e, torch.zeros_like(e[:1])]) for k, e in encodings.items()}
        state = torch.full_like(available, AVAILABLE, dtype=torch.int64)
        output: Tensor = self.fusion(padded, state, torch.where(available, rows[:, None], zeros))
        return output
