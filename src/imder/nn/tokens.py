r"""Learned tokens that summarise a sequence, and attention over tokens (the layers of ALMT and LNLN).

Heads have a width d of their own, and query, key and value are normalised by norms of their own:

    attention(x, s) = W_o concat_h[ softmax(q_h k_h^T / sqrt(d)) v_h ] + b_o,
    q = W_q LN_q(x),   k = W_k LN_k(s),   v = W_v LN_v(s)                              (C -> H d, without biases)
    layer:         x <- x + attention(x, s);   x <- x + W_2 gelu(W_1 LN(x) + b_1) + b_2      (s = x: self-attention)
    TokenEncoder:  [tokens, s] + positions through N layers of self-attention; the tokens' states are the summary

Everything is batch first, time before features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imder.nn.attention import merge_heads, split_heads


class TokenAttention(nn.Module):
    """Pre-norm attention, heads of any width.

    Args:
        width: channels C.
        heads: H.
        head_width: d.
        dropout: of the output.
    """

    def __init__(self, width: int, heads: int, head_width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.query_norm, self.key_norm, self.value_norm = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.key, self.value = (nn.Linear(width, heads * head_width, bias=False) for _ in range(3))
        self.out_proj = nn.Linear(heads * head_width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """``(B, Lq, C)`` reads ``(B, Ls, C)``; the result has the shape of ``x``."""
        query = split_heads(self.query(self.query_norm(x)), self.heads)
        key = split_heads(self.key(self.key_norm(source)), self.heads)
        value = split_heads(self.value(self.value_norm(source)), self.heads)
        read = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.dropout(self.out_proj(merge_heads(read)))
        return out


class TokenLayer(nn.Module):
    """Attention and a feed-forward net as wide as its input, each with a residual connection."""

    def __init__(self, width: int, heads: int, head_width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention = TokenAttention(width, heads, head_width, dropout)
        self.ffn = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        """``x`` (B, Lq, C) reads ``source`` (B, Ls, C), by default itself; the result has the shape of ``x``."""
        x = x + self.attention(x, x if source is None else source)
        out: Tensor = x + self.ffn(x)
        return out


class TokenEncoder(nn.Module):
    """Learned tokens before a sequence, positions, and layers of self-attention.

    Positions start as standard normal numbers and tokens as zeros, as in the released code of LNLN.

    Args:
        steps: the longest sequence.
        tokens: how many; 0 to encode the sequence alone.
        width, heads, head_width, dropout: of the layers.
        depth: number of layers N.
    """

    def __init__(
        self, steps: int, tokens: int, width: int, heads: int, head_width: int, depth: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.count = tokens
        self.tokens = nn.Parameter(torch.zeros(tokens, width)) if tokens else None
        self.positions = nn.Parameter(torch.randn(tokens + steps, width))
        self.layers = nn.ModuleList(TokenLayer(width, heads, head_width, dropout) for _ in range(depth))

    def states(self, sequence: Tensor) -> list[Tensor]:
        """The input of the first layer and the output of each, ``(B, tokens + L, C)``, of a sequence ``(B, L, C)``."""
        if self.tokens is not None:
            sequence = torch.cat([self.tokens.expand(len(sequence), -1, -1), sequence], 1)
        states = [sequence + self.positions[: sequence.shape[1]]]
        for layer in self.layers:
            states.append(layer(states[-1]))
        return states

    def forward(self, sequence: Tensor) -> Tensor:
        """``(B, L, C)`` -> the tokens ``(B, tokens, C)``, or the encoded sequence where there are none."""
        encoded = self.states(sequence)[-1]
        return encoded[:, : self.count] if self.count else encoded
