r"""Mutual promotion: a few global tokens and K sequences read each other, layer by layer.

The fusion of the efficient multimodal transformer (Sun et al., IEEE TAC 2023). G is the global multimodal context, one token
for each modality ``(K, C)``; X_k is a sequence ``(T_k, C)``, to which positions are added first. A *unit* lets a target read a
source, then itself, with a layer norm before every part and a residual connection around it:

    unit(x, s):  x <- x + attention(LN x, LN s);   x <- x + attention(LN x);   x <- x + W_2 (a * gelu(b)),  [a, b] = W_1 LN x

Every layer has a unit for each modality and direction, or fewer where they are shared. All read the layer's input:

    X_k' = unit(X_k, G),     G_k = unit(G, X_k),     G' = sum_k w_k G_k,     w = softmax_k(u . tanh(V [G_k] + c) + d)

where [G_k] holds the K C channels of G_k in one vector. Modalities read each other through G alone: the cost of that is linear
in the lengths of sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imder.nn.attention import MultiHeadAttention
from imder.nn.embedding import sinusoidal_positions


@dataclass(frozen=True)
class Dropouts:
    """Shares dropped in training: of embedded sequences, of attention weights, and of a feed-forward net's output."""

    embedding: float = 0.0
    attention: float = 0.0
    forward: float = 0.0


class PromotionUnit(nn.Module):
    """One direction of a mutual promotion unit: a target reads a source, then itself.

    Args:
        width: channels C of target and source.
        heads: attention heads; must divide ``width``.
        expansion: hidden units of the gated feed-forward net, as a multiple of C.
        dropouts: of attention and feed-forward net.
    """

    def __init__(self, width: int, heads: int, expansion: int, dropouts: Dropouts) -> None:
        super().__init__()
        self.target_norm, self.source_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.cross = MultiHeadAttention(width, heads, dropouts.attention, bias=False)
        self.self_norm = nn.LayerNorm(width)
        self.inner = MultiHeadAttention(width, heads, dropouts.attention, bias=False)
        self.forward_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 2 * expansion * width)
        self.contract = nn.Linear(expansion * width, width)
        self.dropout = nn.Dropout(dropouts.forward)

    def forward(
        self, target: Tensor, source: Tensor, mask: Tensor | None = None, source_mask: Tensor | None = None
    ) -> Tensor:
        """``target`` ``(B, T, C)`` and ``source`` ``(B, S, C)``, True in their masks at valid steps -> ``(B, T, C)``."""
        x = target + self.cross(self.target_norm(target), self.source_norm(source), mask=source_mask)
        x = x + self.inner(self.self_norm(x), mask=mask)
        value, gate = self.expand(self.forward_norm(x)).chunk(2, dim=-1)
        out: Tensor = x + self.dropout(self.contract(value * F.gelu(gate)))
        return out


class MutualPromotion(nn.Module):
    """N layers between K global tokens and K sequences (module text).

    Args:
        modalities: K.
        width: channels C.
        heads: attention heads; must divide ``width`` (`ImderError` otherwise).
        layers: number of layers N.
        expansion: hidden units of the feed-forward nets, as a multiple of C.
        shared: what has the same units: ``direction`` (both directions), ``modality`` (all modalities), ``layer`` (all layers,
            whose pooling is then the same too).
        dropouts: see `Dropouts`.
    """

    def __init__(
        self,
        modalities: int,
        width: int,
        heads: int,
        layers: int,
        expansion: int = 4,
        shared: Sequence[str] = (),
        dropouts: Dropouts | None = None,
    ) -> None:
        super().__init__()
        dropouts = dropouts or Dropouts()
        self.layers, self.width = layers, width
        self._shape = tuple(
            1 if name in shared else n for name, n in (("layer", layers), ("modality", modalities), ("direction", 2))
        )
        count = self._shape[0] * self._shape[1] * self._shape[2]
        self.units = nn.ModuleList(PromotionUnit(width, heads, expansion, dropouts) for _ in range(count))
        flat = modalities * width
        self.scores = nn.ModuleList(
            nn.Sequential(nn.Linear(flat, flat), nn.Tanh(), nn.Linear(flat, 1)) for _ in range(self._shape[0])
        )
        self.dropout = nn.Dropout(dropouts.embedding)

    def unit(self, layer: int, modality: int, direction: int) -> nn.Module:
        """The unit of a layer and modality whose target is the sequence (direction 0) or the context (1)."""
        index = 0
        for number, count in zip((layer, modality, direction), self._shape, strict=True):
            index = index * count + min(number, count - 1)
        return self.units[index]

    def forward(
        self, context: Tensor, sequences: Sequence[Tensor], masks: Sequence[Tensor], *, context_only: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """Promote context and sequences.

        Args:
            context: ``(B, K, C)``.
            sequences: K times ``(B, T_k, C)``.
            masks: K times ``(B, T_k)`` bool, True at valid steps, of which every row has one.
            context_only: leave out what the last layer makes of the sequences, which the context doesn't depend on.

        Returns:
            Both after N layers, in the same shapes; a sequence is meaningless beyond its valid steps. With ``context_only``
            there are no sequences.
        """
        positioned = (x + sinusoidal_positions(x.shape[1], self.width, x.device).to(x.dtype) for x in sequences)
        current = [self.dropout(x) for x in positioned]
        for layer in range(self.layers):
            contexts, promoted = [], []
            for i, (x, mask) in enumerate(zip(current, masks, strict=True)):
                if not context_only or layer < self.layers - 1:
                    promoted.append(self.unit(layer, i, 0)(x, context, mask=mask))
                contexts.append(self.unit(layer, i, 1)(context, x, source_mask=mask))
            flat = torch.stack(contexts, dim=1).flatten(2)
            weights = self.scores[min(layer, len(self.scores) - 1)](flat).softmax(dim=1)
            context, current = (weights * flat).sum(1).view_as(context), promoted
        return context, current
