"""Neighbouring clips in the condition of a score network: a token for each offset and each modality available there.

The target's own modality is among them: what was said or shown a moment ago tells most about what is missing now. A token
carries the mean over time of the neighbour's encoding, its modality and its offset. Beside the tokens, an average of each
modality over the neighbours that have it, weighted by a learned score of the offset, enters the condition's summary:

    t_ok = A_k mean(e_k of the neighbour at offset o) + p_ok,    u_k = sum_o softmax_o(w_ok) t_ok  over available ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from imder.models.parts.context import Neighbours
from imder.nn.module_dict import ModuleDict


@dataclass(frozen=True)
class NeighbourEncodings:
    """The neighbours of R clips.

    Attributes:
        means: for each modality ``(R, J, W)``, the mean over time of the encoding at each of J offsets; anything where it is
            not available.
        available: ``(R, J, K)`` bool.
        columns: which of the configured offsets the J are (`imder.models.parts.context.Neighbours`).
    """

    means: dict[str, Tensor]
    available: Tensor
    columns: slice = field(default_factory=lambda: slice(None))

    @classmethod
    def of(cls, encodings: Mapping[str, Tensor], available: Tensor, near: Neighbours) -> NeighbourEncodings:
        """Gather those of R clips from N clips.

        Args:
            encodings: ``(N, W, L_k)`` each.
            available: ``(N, K)`` bool, under which the neighbours are read.
            near: of the R clips.
        """
        means = {k: e.mean(2)[near.rows] for k, e in encodings.items()}
        return cls(means, available[near.rows] & near.mask[..., None], near.columns)

    def take(self, rows: Tensor | slice) -> NeighbourEncodings:
        """Those of some clips."""
        return NeighbourEncodings({k: m[rows] for k, m in self.means.items()}, self.available[rows], self.columns)


class NeighbourTokens(nn.Module):
    """Tokens of the neighbours, and their summary.

    Args:
        names: the K modalities.
        width: channels W of the encodings.
        condition: width C of the tokens.
        offsets: J.
        summary: width of the summary.
    """

    def __init__(self, names: Sequence[str], width: int, condition: int, offsets: int, summary: int) -> None:
        super().__init__()
        self.in_proj = ModuleDict[nn.Linear]({k: nn.Linear(width, condition) for k in names})
        self.positions = nn.Parameter(torch.randn(len(names), offsets, condition) * 0.3)
        self.scores = nn.Parameter(torch.zeros(len(names), offsets))
        self.summaries = ModuleDict[nn.Linear]({k: nn.Linear(condition, summary) for k in names})

    def forward(self, near: NeighbourEncodings) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens ``(R, K J, C)``, their mask ``(R, K J)``, and the sum over modalities of the summaries ``(R, S)``."""
        tokens: list[Tensor] = []
        summary = self.positions.new_zeros(len(near.available), 0)
        for i, (name, project) in enumerate(self.in_proj.items()):
            mask = near.available[:, :, i]
            token = project(torch.where(mask[..., None], near.means[name], 0.0)) + self.positions[i, near.columns]
            weights = self.scores[i, near.columns].expand(mask.shape).masked_fill(~mask, -torch.inf)
            weights = weights.masked_fill(~mask.any(1, keepdim=True), 0.0).softmax(1)
            average = self.summaries[name]((weights[..., None] * token).sum(1))
            average = torch.where(mask.any(1, keepdim=True), average, 0.0)
            summary = average if not tokens else summary + average
            tokens.append(token)
        return torch.cat(tokens, dim=1), near.available.transpose(1, 2).flatten(1), summary
