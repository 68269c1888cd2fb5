"""The recovery branch: a second fusion, and its attention to neighbours, that reads recovered encodings.

It starts as a copy of stage 1's fusion and attention, so that it predicts the same, and learns what recoveries add
(`imder.models.parts.fusions.pooled`). Its neighbours are the vectors of stage 1's fusion: they hold no recovery, and are the
same for every draw.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from imder.models.parts.context import ContextAttention, Neighbours
from imder.models.parts.fusions.base import AVAILABLE, RECOVERED, ClipVectors
from imder.models.parts.fusions.pooled import PooledFusion
from imder.types import RecoveredEncoding


class RecoveryBranch(nn.Module):
    """A fusion that reads recoveries, amid neighbours.

    Args:
        fusion: reads recoveries.
        context: None for a system without context.
    """

    def __init__(self, fusion: PooledFusion, context: ContextAttention | None) -> None:
        super().__init__()
        self.fusion = fusion
        self.context = context

    def start_from(self, fusion: PooledFusion, context: ContextAttention | None) -> None:
        """Copy stage 1."""
        self.fusion.start_from(fusion)
        if self.context is not None and context is not None:
            self.context.load_state_dict(context.state_dict())

    def forward(
        self,
        encodings: Mapping[str, Tensor],
        available: Tensor,
        recovered: Mapping[str, RecoveredEncoding],
        draws: int,
        clips: ClipVectors,
        near: Neighbours | None,
        whole: Tensor | None = None,
    ) -> Tensor:
        """The outputs under each of S draws, ``(S, M, B, O)``; rows that lack nothing are computed once.

        Args:
            encodings: of the available modalities, ``(B, M W, L_k)``.
            available: ``(B, K)`` bool; the others are recovered.
            recovered: their S draws each.
            draws: S.
            clips: the vectors of the B rows in stage 1's fusion, which are read as neighbours.
            near: the neighbours of the rows.
            whole: ``(B, K)`` bool, the available cells without recovery; None for all. The recovery of a modality that is
                available in part is read beside its encoding.
        """
        complete = (available if whole is None else whole).all(1)
        out = clips.output.new_zeros(draws, *clips.output.shape)
        for rows, repeats in ((complete.nonzero().squeeze(1), 1), ((~complete).nonzero().squeeze(1), draws)):
            if not len(rows):
                continue
            given = {} if repeats == 1 and bool(complete[rows].all()) else _drawn(recovered, rows, len(available))
            index = rows.repeat(repeats)
            state = torch.where(available[index], AVAILABLE, RECOVERED)
            targets = self.fusion.vectors(encodings, state, index[:, None].expand_as(state), given)
            output = targets.output
            if self.context is not None and near is not None:
                output = output + _in_context(self.context, targets, clips, near.take(rows), repeats)
            out[:, :, rows] = output.reshape(len(output), repeats, len(rows), -1).transpose(0, 1).to(out.dtype)
        return out


def without_recovery(available: Tensor, recovering: Tensor) -> Tensor:
    """The cells ``(B, K)`` that aren't recovered: what is available, and all of rows that aren't ``recovering`` (B,).

    Among the latter are clips with nothing available, which only keep a position in their dialogue.
    """
    return available | ~recovering[:, None]


def _in_context(
    context: ContextAttention, targets: ClipVectors, clips: ClipVectors, near: Neighbours, draws: int
) -> Tensor:
    """What neighbours add to S draws of R targets, ``(M, S R, O)``; one draw at a time, as each gathers all neighbours."""
    assert targets.fused is not None
    read, parts = context.keys_and_values(clips), zip(targets.fused.chunk(draws, 1), targets.output.chunk(draws, 1))
    return torch.cat([context.attend(ClipVectors(*part), read, near) for part in parts], dim=1)


def _drawn(recovered: Mapping[str, RecoveredEncoding], rows: Tensor, count: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Recoveries of S draws as rows of one batch, draw after draw of ``rows`` (R,)."""
    position = torch.zeros(count, dtype=torch.int64, device=rows.device)
    position[rows] = torch.arange(len(rows), device=rows.device)
    out = {}
    for name, recovery in recovered.items():
        draws = len(recovery.refined)
        starts = torch.arange(draws, device=rows.device)[:, None] * len(rows)
        out[name] = ((starts + position[recovery.rows]).flatten(), recovery.refined.flatten(0, 1))
    return out
