"""MulT: the multimodal transformer (Tsai et al., ACL 2019), with zeros for missing encodings and no state.

    e_k = E_k(x_k) on one time grid,  0 where modality k is missing        (`imder.models.parts.encoder`)
    y   = MulT(e_1 ... e_K)                                  (`imder.models.parts.fusions.multimodal_transformer`)

IMDer's official fusion without any recovery, on fewer steps and layers, since it trains on every pattern: its distance to
``paper-mosi`` is the gain of recovery there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from imder.models.fusion_system import FusionSystem
from imder.models.parts.encoder import EncoderConfig
from imder.models.parts.fusions.base import FusionConfig
from imder.types import ImderError


@dataclass(frozen=True)
class MulTConfig:
    """Settings small enough for seconds an epoch on one core; the preset says what the paper has.

    Attributes:
        encoder: on one time grid.
        fusion: of the kind ``mult``.
    """

    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(time_grid="resampled", steps=12))
    fusion: FusionConfig = field(default_factory=lambda: FusionConfig(kind="mult", heads=4, layers=2, dropout=0.1))

    def __post_init__(self) -> None:
        if self.fusion.kind != "mult":
            raise ImderError("mult has fusion.kind 'mult'; for the pooled fusion use the system late-fusion")
        if self.encoder.time_grid == "native":
            raise ImderError(
                "mult reads modalities on one time grid: encoder.time_grid must be 'resampled' or 'truncated'"
            )


class MulT(FusionSystem):
    """Encoders on one time grid and the multimodal transformer."""

    system = "mult"
    config_type = MulTConfig
    config: MulTConfig
