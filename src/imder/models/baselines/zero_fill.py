"""Zero-fill: encoders and fusion, missing encodings replaced by zeros, and the fusion told that all is available.

The simplest system that can be trained for missing modalities, and hard to beat. Its distance to IMDer is the gain of
recovery, states and averaging together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from imder.models.baselines.late_fusion import LateFusionConfig
from imder.models.fusion_system import FusionSystem
from imder.models.parts.fusions.base import AVAILABLE, ClipVectors


class ZeroFill(FusionSystem):
    """Encoders and fusion with zeros for missing encodings."""

    system = "zero-fill"
    config_type = LateFusionConfig
    config: LateFusionConfig

    @classmethod
    def stage1_of(cls, config: Any) -> Any:
        """None: no other system is trained with zeros."""
        del config
        return None

    def fuse(self, encodings: Mapping[str, Tensor], available: Tensor, rows: Tensor | None = None) -> ClipVectors:
        """See the base class; one more encoding, of zeros, stands for every missing one."""
        zeros = len(next(iter(encodings.values())))
        padded = {k: torch.cat([e, torch.zeros_like(e[:1])]) for k, e in encodings.items()}
        state = torch.full_like(available, AVAILABLE, dtype=torch.int64)
        rows = torch.arange(zeros, device=available.device) if rows is None else rows
        return self.fusion.vectors(padded, state, torch.where(available, rows[:, None], zeros))
