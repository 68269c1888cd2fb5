"""From the available encodings to a condition of the score networks.

`TokenCondition` (``fast``), for any K and any lengths: each encoding becomes one token for each of its steps, or for each of
a few equal intervals of them, which carries the channels, the modality and the position. Tokens of missing modalities are
masked. A learned token always comes first: attention is never empty, and alone it is the condition of the unconditional
model.

`SubsetCondition` (paper): one kernel-1 convolution of the concatenated encodings for each subset of 2 ... K-1 available
modalities; a single available modality is its own condition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from imder.models.imder.neighbour_condition import NeighbourEncodings, NeighbourTokens
from imder.nn.module_dict import ModuleDict
from imder.nn.resample import resample
from imder.types import ImderError

SUMMARY = 4
"""Width of the summary's perceptron, in widths of a token."""


class TokenCondition(nn.Module):
    """Tokens of the available encodings.

    Args:
        steps: of each modality's encoding.
        width: channels of the encodings.
        condition: width of the tokens.
        tokens: at most so many for each modality.
        neighbours: the tokens of neighbouring clips, if they are read; its summary has the width of `SUMMARY` tokens.
    """

    def __init__(
        self,
        steps: Mapping[str, int],
        width: int,
        condition: int,
        tokens: int,
        neighbours: NeighbourTokens | None = None,
    ) -> None:
        super().__init__()
        self.tokens = {k: min(n, tokens) for k, n in steps.items()}
        self.in_proj = nn.Linear(width, condition)
        self.null_token = nn.Parameter(torch.randn(condition))
        self.positions = nn.ParameterDict(
            {k: nn.Parameter(torch.randn(n, condition) * 0.3) for k, n in self.tokens.items()}
        )
        self.ffn = nn.Sequential(
            nn.LayerNorm(condition), nn.Linear(condition, 2 * condition), nn.GELU(), nn.Linear(2 * condition, condition)
        )
        self.norm = nn.LayerNorm(condition)
        hidden = SUMMARY * condition
        self.summaries = ModuleDict[nn.Linear]({k: nn.Linear(n * condition, hidden) for k, n in self.tokens.items()})
        self.summary = nn.Sequential(nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, condition))
        self.neighbours = neighbours

    def forward(
        self,
        encodings: Mapping[str, Tensor],
        available: Mapping[str, Tensor],
        near: NeighbourEncodings | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Concatenate the tokens of all modalities, and of the neighbours.

        Args:
            encodings: for some modalities ``(R, width, steps)``.
            available: for the same modalities ``(R,)`` bool.
            near: the neighbours of the rows; None for none.

        Returns:
            Tokens ``(R, N, condition)`` and their mask ``(R, N)`` bool. Values of unavailable rows never reach a query.
        """
        rows = next(iter(available.values())).shape[0]
        tokens: list[Tensor] = []
        summary = self.null_token.new_zeros(rows, SUMMARY * len(self.null_token))
        masks = [torch.ones(rows, 1, dtype=torch.bool, device=self.null_token.device)]
        for name, encoding in encodings.items():
            mask, count = available[name], self.tokens[name]
            clean = torch.where(mask[:, None, None], encoding, 0.0).transpose(1, 2)
            if count < clean.shape[1]:
                clean = resample(clean, torch.full_like(mask, clean.shape[1], dtype=torch.int64), count)
            tokens.append(self.in_proj(clean) + self.positions[name])
            summary = summary + torch.where(mask[:, None], self.summaries[name](tokens[-1].flatten(1)), 0.0)
            masks.append(mask[:, None].expand(-1, count))
        if near is not None and self.neighbours is not None:
            token, mask, added = self.neighbours(near)
            tokens.append(token)
            masks.append(mask)
            summary = summary + added
        first = self.null_token + self.summary(summary)
        sequence = torch.cat([first[:, None], *tokens], dim=1)
        return self.norm(sequence + self.ffn(sequence)), torch.cat(masks, dim=1)


class SubsetCondition(nn.Module):
    """One condition from any proper subset of the modalities.

    Args:
        names: the modalities; encodings are concatenated in this order (official code: language, vision, audio).
        width: channels W of the encodings.
    """

    def __init__(self, names: Sequence[str], width: int = 32) -> None:
        super().__init__()
        self.names = tuple(names)
        self.fuse = ModuleDict[nn.Conv1d](
            {
                "+".join(subset): nn.Conv1d(size * width, width, 1)
                for size in range(2, len(names))
                for subset in combinations(names, size)
            }
        )

    def forward(self, encodings: Mapping[str, Tensor]) -> Tensor:
        """The condition from the given encodings: a single one as it is, several fused.

        Args:
            encodings: ``(B, W, L)`` for each *available* modality, 1 to K - 1 of them, in any order.

        Returns:
            ``(B, W, L)``.
        """
        subset = [name for name in self.names if name in encodings]
        if len(subset) != len(encodings) or not 1 <= len(subset) < len(self.names):
            raise ImderError(f"a condition is made of some but not all of {list(self.names)}, got {list(encodings)}")
        if len(subset) == 1:
            return encodings[subset[0]]
        fused: Tensor = self.fuse["+".join(subset)](torch.cat([encodings[name] for name in subset], dim=1))
        return fused
