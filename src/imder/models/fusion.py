"""Fusion for ``fast``: pooled modalities, a state for each, attention across them.

How a short sequence is pooled matters more than what comes after: every modality is read by the mean, the deviation and the
deviation of differences of its encoding over time. The modality vector, or a learned token where the modality is missing,
carries an embedding of its *state* (missing, available or recovered): a fusion that isn't told what was recovered gets
worse, on complete inputs too. The vectors attend to each other and a learned query reads the prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

MISSING, AVAILABLE, RECOVERED = 0, 1, 2
"""States of a modality, as `PooledFusion` is told them."""


@dataclass(frozen=True)
class FusionConfig:
    """Of the fusion.

    Attributes:
        kind: ``pooled`` (this module) or ``mult`` (the paper's multimodal transformer, `imder.models.mult`).
        hidden: width of a modality's vector (``pooled``).
        heads, layers: of the attention across modalities (``pooled``) or of every transformer (``mult``).
        dropout: everywhere but where the next two apply.
        embedding_dropout, audio_dropout: on embedded sequences; on attention to audio (``mult``).
        causal: whether attention is causal (``mult``; the released code's).
    """

    kind: Literal["pooled", "mult"] = "pooled"
    hidden: int = 128
    heads: int = 4
    layers: int = 1
    dropout: float = 0.3
    embedding_dropout: float = 0.0
    audio_dropout: float = 0.0
    causal: bool = False


def pool(encoding: Tensor) -> Tensor:
    """Mean, deviation and deviation of differences over time: ``(B, W, L)`` -> ``(B, 3 W)``, ``(B, W)`` if L is 1."""
    mean = encoding.mean(2)
    if encoding.shape[2] == 1:
        return mean
    deviation = (encoding.var(2, correction=0) + 1e-6).sqrt()
    difference = (encoding.diff(dim=2).square().mean(2) + 1e-6).sqrt()
    return torch.cat([mean, deviation, difference], dim=1)


class PooledFusion(nn.Module):
    """Late fusion of K encodings with states.

    Args:
        steps: of each modality's encoding.
        width: channels of the encodings.
        outputs: width of the prediction.
        config: see `FusionConfig`.
    """

    def __init__(self, steps: Mapping[str, int], width: int, outputs: int, config: FusionConfig) -> None:
        super().__init__()
        self.names = tuple(steps)
        hidden = config.hidden
        self.read = nn.ModuleDict(
            {
                k: nn.Sequential(
                    nn.LayerNorm(width * (3 if n > 1 else 1)),
                    nn.Dropout(config.dropout),
                    nn.Linear(width * (3 if n > 1 else 1), hidden),
                    nn.GELU(),
                    nn.Dropout(config.dropout),
                    nn.Linear(hidden, hidden),
                )
                for k, n in steps.items()
            }
        )
        self.missing = nn.Parameter(torch.randn(len(steps), hidden) * 0.02)
        self.state = nn.Embedding(3, hidden)
        self.query = nn.Parameter(torch.randn(hidden) * 0.02)
        layer = nn.TransformerEncoderLayer(
            hidden, config.heads, 2 * hidden, config.dropout, "gelu", batch_first=True, norm_first=True
        )
        self.mix = nn.TransformerEncoder(layer, config.layers, nn.LayerNorm(hidden), enable_nested_tensor=False)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, encodings: Mapping[str, Tensor], state: Tensor) -> Tensor:
        """Fuse.

        Args:
            encodings: for each modality ``(B, W, L_k)``; never read where the state is MISSING.
            state: ``(B, K)`` int64.

        Returns:
            ``(B, O)``.
        """
        tokens = []
        for i, name in enumerate(self.names):
            there = state[:, i] != MISSING
            token = self.missing[i].expand(len(state), -1)
            if there.any():
                token = token.index_copy(0, there.nonzero().squeeze(1), self.read[name](pool(encodings[name][there])))
            tokens.append(token)
        mixed = torch.stack(tokens, dim=1) + self.state(state)
        query = self.query.expand(len(state), 1, -1)
        out: Tensor = self.head(self.mix(torch.cat([query, mixed], dim=1))[:, 0])
        return out
