"""From the encodings that are there to a condition, for any K and any lengths.

The available encodings become tokens, side by side in time: each modality gives one token for each of its steps, or for
each of a few equal intervals of them, that carries its channels, which modality it is and where in it. Absent ones are
masked. One learned token always stands first: attention is never empty, and alone it is the unconditional model's
condition.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from imder.nn.resample import resample

SUMMARY = 4  # width of the summary's perceptron, in widths of a token


class TokenCondition(nn.Module):
    """Tokens of the available encodings.

    Args:
        steps: of each modality's encoding.
        width: channels of the encodings.
        condition: width of the tokens.
        tokens: at most so many for each modality.
    """

    def __init__(self, steps: Mapping[str, int], width: int, condition: int, tokens: int) -> None:
        super().__init__()
        self.tokens = {k: min(n, tokens) for k, n in steps.items()}
        self.in_proj = nn.Linear(width, condition)
        self.null = nn.Parameter(torch.randn(condition))
        self.place = nn.ParameterDict(
            {k: nn.Parameter(torch.randn(n, condition) * 0.3) for k, n in self.tokens.items()}
        )
        self.ffn = nn.Sequential(
            nn.LayerNorm(condition), nn.Linear(condition, 2 * condition), nn.GELU(), nn.Linear(2 * condition, condition)
        )
        self.norm = nn.LayerNorm(condition)
        hidden = SUMMARY * condition
        self.views = nn.ModuleDict({k: nn.Linear(n * condition, hidden) for k, n in self.tokens.items()})
        self.summary = nn.Sequential(nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, condition))

    def forward(self, encodings: Mapping[str, Tensor], available: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Lay tokens side by side.

        Args:
            encodings: for some modalities ``(R, width, steps)``.
            available: for the same modalities ``(R,)`` bool.

        Returns:
            Tokens ``(R, N, condition)`` and their mask ``(R, N)`` bool. Values of unavailable rows never reach a query.
        """
        rows = next(iter(available.values())).shape[0]
        tokens: list[Tensor] = []
        view = self.null.new_zeros(rows, SUMMARY * len(self.null))
        masks = [torch.ones(rows, 1, dtype=torch.bool, device=self.null.device)]
        for name, encoding in encodings.items():
            there, count = available[name], self.tokens[name]
            clean = torch.where(there[:, None, None], encoding, 0.0).transpose(1, 2)
            if count < clean.shape[1]:
                clean = resample(clean, torch.full_like(there, clean.shape[1], dtype=torch.int64), count)
            tokens.append(self.in_proj(clean) + self.place[name])
            view = view + torch.where(there[:, None], self.views[name](tokens[-1].flatten(1)), 0.0)
            masks.append(there[:, None].expand(-1, count))
        first = self.null + self.summary(view)
        laid = torch.cat([first[:, None], *tokens], dim=1)
        return self.norm(laid + self.ffn(laid)), torch.cat(masks, dim=1)
