"""MulT: the multimodal transformer (Tsai et al., ACL 2019), zeros for what is missing, nobody told.

    e_k = E_k(x_k) on one time grid,  0 where modality k is missing        (`imder.models.parts.encoder`)
    y   = MulT(e_1 ... e_K)                                            (`imder.models.parts.fusions.multimodal_transformer`)

The published fusion without anything recovered, on fewer steps and layers, since every pattern has to be learned: its
distance to ``paper-mosi`` is what recovery is worth there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from imder.models.baselines.single_phase import SinglePhase
from imder.models.parts.encoder import EncoderConfig
from imder.models.parts.fusions.multimodal_transformer import MulTFusion
from imder.models.parts.fusions.pooled import FusionConfig
from imder.types import ImderError, Spec


@dataclass(frozen=True)
class MulTConfig:
    """Light enough for seconds an epoch on one core; see the preset for what the paper has."""

    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(time_grid="resampled", steps=12))
    fusion: FusionConfig = field(default_factory=lambda: FusionConfig(kind="mult", heads=4, layers=2, dropout=0.1))

    def __post_init__(self) -> None:
        if self.fusion.kind != "mult":
            raise ImderError("mult has fusion.kind 'mult'; for the pooled fusion use the system late-fusion")
        if self.encoder.time_grid == "native":
            raise ImderError(
                "mult reads modalities on one time grid: encoder.time_grid must be 'resampled' or 'truncated'"
            )


class MulT(SinglePhase):
    """Encoders on one time grid and the multimodal transformer."""

    system = "mult"
    config_type = MulTConfig
    config: MulTConfig
    fusion: MulTFusion

    def __init__(self, spec: Spec, config: MulTConfig) -> None:
        super().__init__(spec, config, config.encoder)
        fusion = config.fusion
        self.fusion = MulTFusion(
            spec.names,
            config.encoder.width,
            fusion.heads,
            fusion.layers,
            spec.outputs,
            {"audio": fusion.audio_dropout} if "audio" in spec.names else 0.0,
            fusion.embedding_dropout,
            fusion.dropout,
            fusion.causal,
        )

    def last_layer(self) -> nn.Linear:
        """The fusion's last one."""
        return self.fusion.out

    def fuse(self, encodings: dict[str, Tensor], available: Tensor, rows: Tensor) -> Tensor:
        """Zeros are fused like anything else."""
        seen = {k: torch.where(available[:, i, None, None], e[rows], 0.0) for i, (k, e) in enumerate(encodings.items())}
        out: Tensor = self.fusion(seen)[0]
        return out
