r"""The cross-modal transformer: one sequence (the query) repeatedly reads another (the source).

The block of MulT (Tsai et al., ACL 2019) in the form of the official IMDer code. With width C, query x and source s,

    embed(x)_p = sqrt(C) x_p + position(p),       p = 1, 2, ...         (then embedding dropout)
    N layers:  x <- x + attention(LN(x), LN(s));   x <- x + W_2 relu(W_1 LN'(x)),   W_1: C -> 4C, W_2: 4C -> C
    output = LN''(x).

The source is embedded once and read, as it is, by all N layers; in one layer the *same* LN normalises query and
source. Without a source the block is plain self-attention: in each layer s is the layer's own input x.

One convention of the official code is an option. There a step whose first channel is exactly 0 counts as padding and
gets no position (position index 0, a row of zeros); the step itself stays and is attended to. This affects real data:
zero-padded features give exactly zero encodings after a convolution without bias. ``zero_is_padding=True`` reproduces it;
the default gives every step its position.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from imder.nn.attention import MultiHeadAttention
from imder.nn.embedding import sinusoidal_positions
from imder.nn.linear import linear


class CrossModalLayer(nn.Module):
    """One pre-norm layer: attention, then a feed-forward net, each with a residual connection.

    Args:
        width: channels C.
        heads: attention heads; must divide ``width``.
        attention_dropout: on attention weights.
        dropout: on the hidden units of the feed-forward net and on both residual branches.
    """

    def __init__(self, width: int, heads: int, attention_dropout: float = 0.0, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(width)
        self.attention = MultiHeadAttention(width, heads, attention_dropout)
        self.forward_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)
        for layer in (self.expand, self.contract):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, source: Tensor | None, causal: bool = False, mask: Tensor | None = None) -> Tensor:
        """``x`` ``(B, Lq, C)``, ``source`` ``(B, Ls, C)`` or None, ``mask`` bool ``(B, Ls)`` -> ``(B, Lq, C)``."""
        normed = self.attention_norm(x)
        read = self.attention(normed, None if source is None else self.attention_norm(source), causal, mask)
        x = x + self._drop(read)
        hidden = self._drop(F.relu(linear(self.forward_norm(x), self.expand.weight, self.expand.bias)))
        return x + self._drop(linear(hidden, self.contract.weight, self.contract.bias))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class CrossModalEncoder(nn.Module):
    """N cross-modal layers between an embedding and a final norm (module text). Channels before time.

    Args:
        width: channels C of query, source and output.
        heads: attention heads; must divide ``width`` (`ImderError` otherwise).
        layers: number of layers N.
        attention_dropout: on attention weights.
        embedding_dropout: on the embedded query and source.
        dropout: everywhere else.
        causal: whether a step is kept from attending to later source steps (as in all attention of the official code).
        zero_is_padding: whether a step whose first channel is exactly 0 gets no position (module text).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        layers: int,
        attention_dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        dropout: float = 0.0,
        causal: bool = False,
        zero_is_padding: bool = False,
    ) -> None:
        super().__init__()
        self.width, self.embedding_dropout = width, embedding_dropout
        self.causal, self.zero_is_padding = causal, zero_is_padding
        self.layers = nn.ModuleList(CrossModalLayer(width, heads, attention_dropout, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def _embed(self, x: Tensor) -> Tensor:
        """``(B, C, L)`` -> ``(B, L, C)``: scaled, with positions, dropped out."""
        x = x.transpose(1, 2)
        positions = sinusoidal_positions(x.shape[1], self.width, x.device).to(x.dtype)
        if self.zero_is_padding:
            positions = positions * (x[..., :1] != 0)
        return F.dropout(math.sqrt(self.width) * x + positions, self.embedding_dropout, self.training)

    def forward(self, query: Tensor, source: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Let the query read the source (or itself).

        Args:
            query: ``(B, C, Lq)``.
            source: ``(B, C, Ls)``; None for self-attention.
            mask: ``(B, Ls)`` bool, True at the valid source steps (the query's own without a source); None for all.

        Returns:
            ``(B, C, Lq)``.
        """
        x = self._embed(query)
        embedded = None if source is None else self._embed(source)
        for layer in self.layers:
            x = layer(x, embedded, self.causal, mask)
        out: Tensor = self.norm(x)
        return out.transpose(1, 2)
