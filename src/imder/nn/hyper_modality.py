r"""Adaptive hyper-modality learning (ALMT, Zhang et al., EMNLP 2023): one modality decides what is read from the others.

With h_0 ... h_N states of the dominant modality, x_k tokens of the others, and r learned tokens that start as ones,

    r <- LN(r) + W_o concat_h[ sum_k softmax(q_h k_kh^T / sqrt(d)) v_kh ] + b_o,   i = 0 ... N,
    q = W_q LN(h_i),   k_k = W_k LN_k(x_k),   v_k = V_k LN_k(x_k)                  (C -> H d, without biases).

The residual is the normalised r, as in the released code of LNLN; the papers have r itself. In `HyperFusion` h_N then reads r.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imder.nn.attention import merge_heads, split_heads
from imder.nn.tokens import TokenLayer


class HyperModalityLayer(nn.Module):
    """One step of r (module text).

    Args:
        width, heads, head_width: of the attention.
        others: number of modalities besides the dominant one.
    """

    def __init__(self, width: int, heads: int, head_width: int, others: int) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * head_width
        self.query_norm, self.hyper_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.source_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(others))
        self.query = nn.Linear(width, inner, bias=False)
        self.keys = nn.ModuleList(nn.Linear(width, inner, bias=False) for _ in range(others))
        self.values = nn.ModuleList(nn.Linear(width, inner, bias=False) for _ in range(others))
        self.out_proj = nn.Linear(inner, width)

    def forward(self, hyper: Tensor, dominant: Tensor, others: Sequence[Tensor]) -> Tensor:
        """The next hyper-modality ``(B, L, C)``.

        Args:
            hyper: ``(B, L, C)``.
            dominant: ``(B, L, C)``, a state of the dominant modality.
            others: ``(B, L_k, C)`` for each of the other modalities.
        """
        query = split_heads(self.query(self.query_norm(dominant)), self.heads)
        reads = []
        for source, norm, key, value in zip(others, self.source_norms, self.keys, self.values, strict=True):
            normed = norm(source)
            pair = split_heads(key(normed), self.heads), split_heads(value(normed), self.heads)
            reads.append(merge_heads(F.scaled_dot_product_attention(query, *pair)))
        out: Tensor = self.hyper_norm(hyper) + self.out_proj(torch.stack(reads).sum(0))
        return out


class HyperModality(nn.Module):
    """The learned tokens and a layer for each state of the dominant modality.

    Args:
        tokens: of r, as many as the dominant modality has.
        width, heads, head_width: of the attention.
        others: number of modalities besides the dominant one.
        layers: number of states.
    """

    def __init__(self, tokens: int, width: int, heads: int, head_width: int, others: int, layers: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.ones(tokens, width))
        self.layers = nn.ModuleList(HyperModalityLayer(width, heads, head_width, others) for _ in range(layers))

    def forward(self, states: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
        """``(B, tokens, C)`` states and ``(B, L_k, C)`` other modalities -> ``(B, tokens, C)``."""
        hyper = self.tokens.expand(len(states[0]), -1, -1)
        for layer, state in zip(self.layers, states, strict=True):
            hyper = layer(hyper, state, others)
        return hyper


class HyperFusion(nn.Module):
    """Layers in which the dominant modality reads the hyper-modality, before which there is one learned token.

    Args:
        tokens: of both.
        width, heads, head_width, dropout: of the layers.
        depth: number of layers.
    """

    def __init__(self, tokens: int, width: int, heads: int, head_width: int, depth: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, width))
        self.query_positions = nn.Parameter(torch.randn(tokens, width))
        self.source_positions = nn.Parameter(torch.randn(1 + tokens, width))
        self.layers = nn.ModuleList(TokenLayer(width, heads, head_width, dropout) for _ in range(depth))

    def forward(self, dominant: Tensor, hyper: Tensor) -> Tensor:
        """Both ``(B, tokens, C)``; the result has their shape."""
        source = torch.cat([self.token.expand(len(hyper), -1, -1), hyper], 1) + self.source_positions
        x = dominant + self.query_positions
        for layer in self.layers:
            x = layer(x, source)
        return x
