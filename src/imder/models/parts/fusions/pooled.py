"""Fusion for ``fast``: pooled modalities that are told apart by state, a gate across them, a linear path beside it.

How a short sequence is pooled matters more than what comes after: every modality is read by the mean, the deviation and
the deviation of differences of its encoding over time. The modality vector, or a learned token where the modality is
missing, carries an embedding of its *state* (missing, available or recovered): a fusion that isn't told what was recovered
gets worse, on complete inputs too. A gate that sees all vectors and states weighs them:

    f = sqrt(K) sum_k softmax(gate([z_1 .. z_K]))_k z_k,    y = W f + sum_k W_k h_k    (h_k = 0 where k is missing).

The last sum is a linear expert for each modality: with few labels, most of what can be learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from imder.types import ImderError

MISSING, AVAILABLE, RECOVERED = 0, 1, 2
"""States of a modality, as `PooledFusion` is told them."""


@dataclass(frozen=True)
class FusionConfig:
    """Of the fusion.

    Attributes:
        kind: ``pooled`` (this module) or ``mult`` (the paper's multimodal transformer, `imder.models.parts.fusions.multimodal_transformer`).
        hidden: width of a modality's vector (``pooled``).
        input_dropout: on the pooled statistics (``pooled``).
        heads, layers: of every transformer (``mult``).
        dropout: everywhere but where the next two apply.
        embedding_dropout, audio_dropout: on embedded sequences; on attention to audio (``mult``).
        causal: whether attention is causal (``mult``; the released code's).
    """

    kind: Literal["pooled", "mult"] = "pooled"
    hidden: int = 64
    input_dropout: float = 0.3
    heads: int = 8
    layers: int = 4
    dropout: float = 0.5
    embedding_dropout: float = 0.0
    audio_dropout: float = 0.0
    causal: bool = False


def require_pooled(fusion: FusionConfig, system: str) -> None:
    """Refuse, for a system that has no other, a fusion that isn't ``pooled`` (`ImderError`)."""
    if fusion.kind != "pooled":
        raise ImderError(f"{system} has fusion.kind 'pooled'; for the multimodal transformer use the system mult")


def pool(encoding: Tensor) -> Tensor:
    """Mean, deviation and deviation of differences over time: ``(B, W, L)`` -> ``(B, 3 W)``, ``(B, W)`` if L is 1."""
    mean = encoding.mean(2)
    if encoding.shape[2] == 1:
        return mean
    deviation = ((encoding - mean[..., None]).square().mean(2) + 1e-6).sqrt()  # var() is several times slower
    difference = (encoding.diff(dim=2).square().mean(2) + 1e-6).sqrt()
    return torch.cat([mean, deviation, difference], dim=1)


def _pool_rows(encoding: Tensor, rows: Tensor) -> Tensor:
    """Statistics of some rows of ``(N, W, L)``, each row pooled once however often it is named."""
    distinct, place = torch.unique(rows, return_inverse=True)
    return pool(encoding[distinct])[place]


class Reader(nn.Module):
    """One modality's statistics to its vector: normalise, drop, one hidden layer."""

    def __init__(self, size: int, single: bool, config: FusionConfig) -> None:
        super().__init__()
        self.single = single
        self.gain = nn.Parameter(torch.ones(size))
        self.shift = nn.Parameter(torch.zeros(size))
        self.drop = nn.Dropout(config.input_dropout)
        self.hidden = nn.Linear(size, config.hidden)
        self.after = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, S)`` -> ``(B, hidden)``."""
        if not self.single:  # a norm over the channels of a single step would throw the vector's size away
            x = nn.functional.layer_norm(x, x.shape[-1:])
        out: Tensor = self.after(nn.functional.gelu(self.hidden(self.drop(x * self.gain + self.shift))))
        return out


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
        hidden, count = config.hidden, len(steps)
        self.read = nn.ModuleDict({k: Reader(width * (3 if n > 1 else 1), n == 1, config) for k, n in steps.items()})
        self.missing = nn.Parameter(torch.randn(count, hidden) * 0.02)
        self.state = nn.Parameter(torch.randn(3, count, hidden) * 0.02)
        self.gate = nn.Sequential(nn.Linear(count * (hidden + 3), hidden), nn.GELU(), nn.Linear(hidden, count))
        self.experts = nn.ModuleDict({k: nn.Linear(hidden, outputs, bias=False) for k in steps})
        self.head = nn.Linear(hidden, outputs)

    def forward(self, encodings: Mapping[str, Tensor], state: Tensor, rows: Tensor | None = None) -> Tensor:
        """Fuse.

        Args:
            encodings: for each modality ``(N, W, L_k)``; never read where the state is MISSING.
            state: ``(B, K)`` int64.
            rows: ``(B, K)``, which of the N encodings of each modality is meant; None where N = B and b means b. What is
                meant several times is pooled once.

        Returns:
            ``(B, O)``.
        """
        vectors, direct = [], self.head.bias.new_zeros(len(state), self.head.out_features)
        for i, name in enumerate(self.names):
            there = (state[:, i] != MISSING).nonzero().squeeze(1)
            vector = self.missing[i].expand(len(state), -1)
            if len(there):
                found = encodings[name]
                pooled = pool(found[there]) if rows is None else _pool_rows(found, rows[there, i])
                read = self.read[name](pooled)
                vector = vector.index_copy(0, there, read.to(vector.dtype))
                direct = direct.index_add(0, there, self.experts[name](read).to(direct.dtype))
            vectors.append(vector + self.state[state[:, i], i])
        stacked = torch.stack(vectors, dim=1)
        told = nn.functional.one_hot(state, 3).to(stacked)
        weights = self.gate(torch.cat([stacked.flatten(1), told.flatten(1)], dim=1)).softmax(1)
        fused = (weights[..., None] * stacked).sum(1) * len(self.names) ** 0.5
        out: Tensor = self.head(fused) + direct
        return out
