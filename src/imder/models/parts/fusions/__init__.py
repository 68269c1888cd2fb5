"""Fusions of encodings: one table, chosen by ``fusion.kind``."""

from __future__ import annotations

from collections.abc import Mapping

from imder.models.parts.fusions.base import Fusion, FusionConfig
from imder.models.parts.fusions.multimodal_transformer import MulTFusion
from imder.models.parts.fusions.pooled import PooledFusion
from imder.types import ImderError

FUSIONS: dict[str, type[Fusion]] = {
    "pooled": PooledFusion,
    "mult": MulTFusion,
}
"""``fusion.kind`` -> class."""


def fusion_class(kind: str) -> type[Fusion]:
    """A row of `FUSIONS`.

    Raises:
        ImderError: there is no such kind.
    """
    if kind not in FUSIONS:
        raise ImderError(f"there is no fusion.kind {kind!r}; choose from {', '.join(FUSIONS)}")
    return FUSIONS[kind]


def build_fusion(steps: Mapping[str, int], width: int, outputs: int, config: FusionConfig, members: int = 1) -> Fusion:
    """A new fusion of the configured kind.

    Args:
        steps: of each modality's encoding, in the order of masks.
        width: channels of the encodings, for each member.
        outputs: width of the output.
        config: see `FusionConfig`.
        members: fusions side by side.

    Raises:
        ImderError: a kind that can't have several members.

    >>> build_fusion({"language": 4, "audio": 1}, 8, 1, FusionConfig()).head.out_features
    1
    """
    kind = fusion_class(config.kind)
    if issubclass(kind, PooledFusion):
        return kind(steps, width, outputs, config, members)
    if members != 1:
        raise ImderError(f"model.members {members}: fusion.kind {config.kind!r} has one; use 'pooled'")
    return kind(steps, width, outputs, config)
