"""Late fusion with modality dropout: a learned token for each missing modality, every pattern trained in every step.

It is the first stage of ``fast`` and its missing-token branch, alone: IMDer's gain over late fusion is the gain of the
later phases, recovery and a second fusion. With the settings and the seed of ``fast``, stage 1 is the same training to the
last bit, and a run of one can be the other's first stage (``--stage1``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from imder.models.baselines.fusion_model import FusionModel
from imder.models.parts.encoder import EncoderConfig
from imder.models.parts.fusions.base import FusionConfig


@dataclass(frozen=True)
class LateFusionConfig:
    """Encoders and fusion; the defaults are those of ``fast``."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)


class LateFusion(FusionModel):
    """Encoders and a fusion that is told what is missing."""

    system = "late-fusion"
    config_type = LateFusionConfig
    config: LateFusionConfig
