r"""Graphs over sequences: every step is a node, joined to those at most ``window`` steps away and to itself.

With N_r(t) the steps joined to t by an edge of relation r, and N(t) all of them:

    relational convolution   y_t = W_root x_t + b + sum_r 1 / |N_r(t)| sum_{s in N_r(t)} W_r x_s    (Schlichtkrull et al. 2018)
    graph convolution        y_t = W_self x_t + W sum_{s in N(t)} x_s + b                           (Morris et al. 2019)

A step has at most 2 window + 1 neighbours, at known distances: edges are a mask ``(B, T, W)`` over the offsets
-window ... window, and no list of edges is needed. Padding has no edges. `GraphBranch` is one of the two branches of the
Graph Completion Network (Lian et al., TPAMI 2023; strides and widths as in its official code).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

TEMPORAL = 3
"""Temporal relations: the source is before (0), at (1) or after (2) the target."""


def neighbours(x: Tensor, window: int) -> Tensor:
    """``(B, T, ...)`` -> ``(B, T, ..., W)`` with W = 2 window + 1: the values at offsets -window ... window from each step.

    Zero (False) beyond the ends.

    >>> neighbours(torch.tensor([[1, 2, 3]]), 1).tolist()
    [[[0, 1, 2], [1, 2, 3], [2, 3, 0]]]
    """
    return F.pad(x, (0, 0) * (x.ndim - 2) + (window, window)).unfold(1, 2 * window + 1, 1)


def window_edges(valid: Tensor, window: int) -> Tensor:
    """``(B, T, W)`` bool: edges between the valid steps ``(B, T)``, each with itself too."""
    return neighbours(valid, window) & valid[..., None]


def temporal_relations(window: int, device: torch.device | None = None) -> Tensor:
    """``(W,)`` int64: the temporal relation of an edge, by its offset.

    >>> temporal_relations(2).tolist()
    [0, 0, 1, 2, 2]
    """
    return torch.arange(-window, window + 1, device=device).sign() + 1


def speaker_relations(speakers: Tensor, count: int, window: int) -> Tensor:
    """``(B, T, W)`` int64: of ``count`` squared relations, count * (speaker of the target) + (speaker of the source).

    Args:
        speakers: ``(B, T)`` int64, below ``count``.
        count: of speakers.
        window: of the graph.
    """
    return count * speakers[..., None] + neighbours(speakers, window)


class RelationalConv(nn.Module):
    """``(B, T, I)`` -> ``(B, T, O)``: the mean over the neighbours of each relation, mapped by that relation's matrix.

    Args:
        inputs, outputs: I and O.
        relations: how many kinds of edges there are.
    """

    def __init__(self, inputs: int, outputs: int, relations: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(relations, inputs, outputs))
        self.root = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        for matrix in (*self.weight, self.root):
            nn.init.xavier_uniform_(matrix.data)

    def forward(self, x: Tensor, edges: Tensor, relations: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: ``(B, T, I)``; finite, padding included.
            edges: ``(B, T, W)`` bool.
            relations: ``(B, T, W)`` or ``(W,)`` int64, the kind of each edge.
        """
        kinds = F.one_hot(relations, len(self.weight)).to(x) * edges[..., None]
        share = kinds / kinds.sum(-2, keepdim=True).clamp(min=1)  # (B, T, W, R)
        means = torch.einsum("btiw,btwr->btri", neighbours(x, edges.shape[-1] // 2), share)
        return torch.einsum("btri,rio->bto", means, self.weight) + x @ self.root + self.bias


class GraphConv(nn.Module):
    """``(B, T, I)`` -> ``(B, T, O)``: the sum over all neighbours, and the step itself, each mapped by a matrix."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.neighbours = nn.Linear(inputs, outputs)
        self.root = nn.Linear(inputs, outputs, bias=False)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Convolve ``(B, T, I)``, finite, over edges ``(B, T, W)``."""
        total = torch.einsum("btiw,btw->bti", neighbours(x, edges.shape[-1] // 2), edges.to(x))
        out: Tensor = self.neighbours(total) + self.root(x)
        return out


class BiLSTM(nn.Module):
    """``(B, T, I)`` -> ``(B, T, 2 hidden)``: two layers in both directions, each sequence read to its own end."""

    def __init__(self, inputs: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, 2, batch_first=True, dropout=dropout, bidirectional=True)

    def forward(self, x: Tensor, lengths: Tensor, *, read_padding: bool = False) -> Tensor:
        """Read sequences; the output is zero beyond their ends.

        Args:
            x: ``(B, T, I)``.
            lengths: ``(B,)``, at least 1.
            read_padding: as in the official code: padding is read like any step, and changes the outputs before it.
        """
        if read_padding:
            out: Tensor = self.lstm(x)[0]
            return out
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=x.shape[1])[0]


class UtteranceAttention(nn.Module):
    """``(B, T, C)`` -> ``(B, T, C)``: each step as a mean of all, by softmax over s of tanh((W x_t + b) . x_s)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.transform = nn.Linear(width, width)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Attend from every step to the valid ones ``(B, T)``, of which each sequence has one at least."""
        scores = torch.tanh(self.transform(x) @ x.transpose(1, 2))
        out: Tensor = scores.masked_fill(~valid[:, None], -torch.inf).softmax(-1) @ x
        return out


class GraphBranch(nn.Module):
    """One graph over a sequence's steps, read in both directions: ``(B, T, C)`` -> ``(B, T, 5 C / 4)``.

    Two convolutions without an activation between them (C -> C / 4), their result beside the input, a BiLSTM, attention if
    asked for, a linear map and ReLU.

    Args:
        width: C; a multiple of 4.
        relations: kinds of edges.
        attention: whether there is attention over all steps.
        dropout: between the layers of the BiLSTM.
    """

    def __init__(self, width: int, relations: int, attention: bool, dropout: float) -> None:
        super().__init__()
        inner = width // 4
        self.relational = RelationalConv(width, inner, relations)
        self.graph = GraphConv(inner, inner)
        self.reader = BiLSTM(width + inner, width + inner, dropout)
        self.attention = UtteranceAttention(2 * (width + inner)) if attention else None
        self.out = nn.Linear(2 * (width + inner), width + inner)

    def forward(
        self, x: Tensor, lengths: Tensor, valid: Tensor, relations: Tensor, window: int, *, read_padding: bool = False
    ) -> Tensor:
        """Hidden states.

        Args:
            x: ``(B, T, C)``, finite.
            lengths: ``(B,)``.
            valid: ``(B, T)`` bool, the steps below ``lengths``.
            relations: see `RelationalConv`.
            window: of the graph.
            read_padding: see `BiLSTM`.
        """
        edges = window_edges(valid, window)
        hidden = self.graph(self.relational(x, edges, relations), edges)
        joined = torch.cat([x, hidden], -1) * valid[..., None]
        read = self.reader(joined, lengths, read_padding=read_padding)
        return F.relu(self.out(read if self.attention is None else self.attention(read, valid)))
