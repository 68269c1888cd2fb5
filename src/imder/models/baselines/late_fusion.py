"""Late fusion with modality dropout: a learned token for each missing modality, every pattern trained in every step.

It is the first stage of ``fast`` and its missing-token branch, alone: IMDer's gain over late fusion is the gain of the
later phases, recovery and a second fusion. With the settings and the seed of ``fast``, stage 1 is the same training to the
last bit, and a run of one can be the other's first stage (``--stage1``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from imder.models.configuration import check_numbers
from imder.models.fusion_system import MEMBERS, FusionSystem
from imder.models.parts.context import ContextConfig
from imder.models.parts.encoder import EncoderConfig
from imder.models.parts.fusions.base import FusionConfig


@dataclass(frozen=True)
class LateFusionConfig:
    """Settings of late fusion and of zero-fill.

    Attributes:
        encoder: settings of the encoders.
        fusion: settings of the fusion.
        members: number of members: networks of their own, trained together, whose predictions are averaged.
        context: settings of the attention to neighbouring clips.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    members: int = 1
    context: ContextConfig = field(default_factory=ContextConfig)

    def __post_init__(self) -> None:
        check_numbers(self, {"members": MEMBERS}, "model")


class LateFusion(FusionSystem):
    """Encoders and a fusion that is told what is missing."""

    system = "late-fusion"
    config_type = LateFusionConfig
    config: LateFusionConfig
