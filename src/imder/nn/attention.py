r"""Multi-head attention: every query step reads a weighted average of the source steps.

With width C, H heads of C / H channels, and for each head q = W_q x + b_q, k = W_k s + b_k, v = W_v s + b_v,

    attention(x, s) = W_o concat_h[ softmax(q_h k_h^T / sqrt(C / H) + M) v_h ] + b_o.

The three input projections are stored packed, as one linear map C -> 3C, so that self-attention is one product.
M is 0 where a query step may attend and -inf where it may not:

* causal, in the convention of the official code: step i attends to source step j if j <= i + |L_k - L_q|, that is
  M = triu(-inf, 1 + |L_k - L_q|); with equal lengths, the usual causal mask;
* padding: no query attends to an invalid source step. A query without any source step reads 0 (before W_o).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imder.nn.linear import linear
from imder.types import ImderError


def causal_mask(queries: int, keys: int, device: torch.device | None = None) -> Tensor:
    """The source steps that each query step may attend to: bool ``(queries, keys)``, True where it may.

    >>> causal_mask(2, 2).tolist()
    [[True, False], [True, True]]
    >>> causal_mask(2, 3).tolist()
    [[True, True, False], [True, True, True]]
    """
    allowed = torch.ones(queries, keys, dtype=torch.bool, device=device)
    return allowed.tril(abs(keys - queries))


def split_heads(x: Tensor, heads: int) -> Tensor:
    """``(B, L, H d)`` -> ``(B, H, L, d)``."""
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """``(B, H, L, d)`` -> ``(B, L, H d)``."""
    return x.transpose(1, 2).flatten(2)


class MultiHeadAttention(nn.Module):
    """Multi-head attention with packed projections, batch first (the official code's MulT block).

    Weights start Xavier-uniform (the packed matrix as one), biases zero.

    Args:
        width: channels C of queries, source and output.
        heads: number of heads H; must divide ``width`` (`ImderError` otherwise).
        dropout: share of attention weights dropped in training.
        bias: whether queries, keys and values have biases.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0, *, bias: bool = True) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ImderError(f"attention: {heads} heads do not divide a width of {width}; choose another number")
        self.width, self.heads, self.dropout = width, heads, dropout
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width)
        for layer in (self.qkv, self.out):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(
        self, query: Tensor, source: Tensor | None = None, causal: bool = False, mask: Tensor | None = None
    ) -> Tensor:
        """Read the source at every query step.

        Args:
            query: ``(B, Lq, C)``.
            source: ``(B, Ls, C)``; None for self-attention.
            causal: whether a query step is kept from attending to later source steps (module text).
            mask: ``(B, Ls)`` bool, True at the valid source steps; None where all are.

        Returns:
            ``(B, Lq, C)``.
        """
        if source is None:
            q, k, v = linear(query, self.qkv.weight, self.qkv.bias).chunk(3, dim=-1)
            source = query
        else:
            w, b = self.qkv.weight, self.qkv.bias
            q = linear(query, w[: self.width], None if b is None else b[: self.width])
            k, v = linear(source, w[self.width :], None if b is None else b[self.width :]).chunk(2, dim=-1)
        queries, keys = query.shape[1], source.shape[1]
        allowed = None if mask is None else mask[:, None, None, :]
        simple = causal and allowed is None and queries == keys
        if causal and not simple:
            triangle = causal_mask(queries, keys, query.device)
            allowed = triangle if allowed is None else allowed & triangle
        read = F.scaled_dot_product_attention(
            split_heads(q, self.heads),
            split_heads(k, self.heads),
            split_heads(v, self.heads),
            attn_mask=allowed,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=simple,
        )
        return linear(merge_heads(read), self.out.weight, self.out.bias)
