"""Fusion of ``fast``: pooled modalities with states, a gate across them, and a linear expert for each.

Each modality is pooled to the mean, the deviation and the deviation of differences of its encoding over time: with short
sequences, pooling matters more than what follows. The modality's vector, or a learned token where it is missing, gets an
embedding of its *state* (missing, available or recovered): a fusion that isn't told what was recovered gets worse, on
complete inputs too. A gate over all vectors and states weighs them:

    f = sqrt(K) sum_k softmax(gate([z_1 .. z_K]))_k z_k,    y = W f + sum_k W_k h_k    (h_k = 0 where k is missing).

The last sum is a linear expert for each modality: with few labels, most of what can be learned.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from imder.models.parts.fusions.base import MISSING, Fusion, FusionConfig
from imder.nn.module_dict import ModuleDict


def pool(encoding: Tensor) -> Tensor:
    """Mean, deviation and deviation of differences over time: ``(B, W, L)`` -> ``(B, 3 W)``, ``(B, W)`` if L is 1."""
    mean = encoding.mean(2)
    if encoding.shape[2] == 1:
        return mean
    deviation = ((encoding - mean[..., None]).square().mean(2) + 1e-6).sqrt()  # var() is several times slower
    difference = (encoding.diff(dim=2).square().mean(2) + 1e-6).sqrt()
    return torch.cat([mean, deviation, difference], dim=1)


def _pool_rows(encoding: Tensor, rows: Tensor) -> Tensor:
    """Statistics of some rows of ``(N, W, L)``, each distinct row pooled once."""
    distinct, index = torch.unique(rows, return_inverse=True)
    return pool(encoding[distinct])[index]


class PooledReader(nn.Module):
    """One modality's pooled encoding to its vector: normalise, drop, one hidden layer.

    Args:
        width: channels W of the encoding.
        steps: of the encoding.
        config: see `FusionConfig`.
    """

    def __init__(self, width: int, steps: int, config: FusionConfig) -> None:
        super().__init__()
        self.single = steps == 1
        size = width if self.single else 3 * width
        self.gain = nn.Parameter(torch.ones(size))
        self.shift = nn.Parameter(torch.zeros(size))
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.hidden = nn.Linear(size, config.hidden)
        self.output_dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Statistics ``(B, S)`` of `pool` -> ``(B, hidden)``."""
        if not self.single:  # normalising a single step over its channels would lose the vector's magnitude
            x = nn.functional.layer_norm(x, x.shape[-1:])
        hidden = nn.functional.gelu(self.hidden(self.input_dropout(x * self.gain + self.shift)))
        out: Tensor = self.output_dropout(hidden)
        return out


class PooledFusion(Fusion):
    """Late fusion with states; see `Fusion` and `FusionConfig` for the arguments."""

    reads_state = True

    def __init__(self, steps: Mapping[str, int], width: int, outputs: int, config: FusionConfig) -> None:
        super().__init__(steps, width, outputs, config)
        hidden, count = config.hidden, len(steps)
        self.readers = ModuleDict[PooledReader]({k: PooledReader(width, n, config) for k, n in steps.items()})
        self.missing_token = nn.Parameter(torch.randn(count, hidden) * 0.02)
        self.state_embedding = nn.Parameter(torch.randn(3, count, hidden) * 0.02)
        self.gate = nn.Sequential(nn.Linear(count * (hidden + 3), hidden), nn.GELU(), nn.Linear(hidden, count))
        self.experts = ModuleDict[nn.Linear]({k: nn.Linear(hidden, outputs, bias=False) for k in steps})
        self.head = nn.Linear(hidden, outputs)

    def forward(self, encodings: Mapping[str, Tensor], state: Tensor, rows: Tensor | None = None) -> Tensor:
        """Fuse (see `Fusion`); an encoding that several rows use is pooled once."""
        vectors, direct = [], self.head.bias.new_zeros(len(state), self.head.out_features)
        for i, name in enumerate(self.names):
            visible = (state[:, i] != MISSING).nonzero().squeeze(1)
            vector = self.missing_token[i].expand(len(state), -1)
            if len(visible):
                encoding = encodings[name]
                pooled = pool(encoding[visible]) if rows is None else _pool_rows(encoding, rows[visible, i])
                read = self.readers[name](pooled)
                vector = vector.index_copy(0, visible, read.to(vector.dtype))
                direct = direct.index_add(0, visible, self.experts[name](read).to(direct.dtype))
            vectors.append(vector + self.state_embedding[state[:, i], i])
        stacked = torch.stack(vectors, dim=1)
        states = nn.functional.one_hot(state, 3).to(stacked)
        weights = self.gate(torch.cat([stacked.flatten(1), states.flatten(1)], dim=1)).softmax(1)
        fused = (weights[..., None] * stacked).sum(1) * len(self.names) ** 0.5
        out: Tensor = self.head(fused) + direct
        return out
