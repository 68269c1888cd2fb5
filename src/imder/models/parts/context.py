r"""Context: a clip reads the neighbouring clips of its dialogue.

The vector f_i of a clip (`imder.models.parts.fusions`) attends to the vectors of its neighbours j, each made under the
neighbour's own availability, with its output y_j beside it:

    c_j = gelu(C [f_j, y_j]),    s_ij = (q_i . k_j + q_i . o_{j-i}) / sqrt(d) + b_{j-i},    s_i0 = 0
    a_i = sum_j softmax(s_i)_j v_j,    y_i' = y_i + W a_i + V gelu(U [f_i, a_i]).

o and b are an embedding and a bias of the offset; s_i0 belongs to a null slot of value 0, by which a clip can ignore its
neighbours. Offsets count clips of the dialogue in order, whatever their positions. A neighbour with nothing available counts
as absent; a clip without neighbours keeps its own output.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from imder.models.configuration import DROPOUT, POSITIVE_COUNT, Number, check_numbers
from imder.models.parts.fusions.base import ClipVectors
from imder.nn.members import MemberLinear
from imder.types import Batch, ImderError

_NUMBERS = {"window": Number(whole=True, least=1, most=1000), "hidden": POSITIVE_COUNT, "dropout": DROPOUT}


KeysAndValues = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class ContextConfig:
    """Which neighbouring clips are read, and how.

    Attributes:
        direction: ``both`` sides, the ``past`` alone (what a live stream has), or ``none``.
        window: number of clips on each side, at most 1000; for none, set ``direction`` to none.
        hidden: channels of the attention.
        dropout: dropout rate of the neighbours' vectors.
    """

    direction: Literal["none", "both", "past"] = "none"
    window: int = 4
    hidden: int = 32
    dropout: float = 0.3

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ImderError(
                f"model.context.window must be at least 1, got {self.window}; for none, set model.context.direction none"
            )
        check_numbers(self, _NUMBERS, "model.context")

    @property
    def offsets(self) -> tuple[int, ...]:
        """The offsets that are read, such as (-2, -1, 1, 2)."""
        after = self.window if self.direction == "both" else 0
        before = self.window if self.direction != "none" else 0
        return tuple(range(-before, 0)) + tuple(range(1, after + 1))


@dataclass(frozen=True)
class Neighbours:
    """The neighbours of B clips.

    Attributes:
        rows: ``(B, J)`` int64, the row of the neighbour at each of J offsets; 0 where there is none.
        mask: ``(B, J)`` bool, where there is one with anything available.
        columns: which of the configured offsets the J are: those within the longest dialogue.
    """

    rows: Tensor
    mask: Tensor
    columns: slice = field(default_factory=lambda: slice(None))

    def take(self, rows: Tensor) -> Neighbours:
        """The neighbours of some clips."""
        return Neighbours(self.rows[rows], self.mask[rows], self.columns)


def dialogue_steps(dialogue: Tensor, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The dialogue of each row ``(B,)``, numbered from 0, its step in it ``(B,)``, and the lengths of the dialogues.

    Dialogues are sequences without gaps: only the order of the positions counts.

    >>> dialogue_steps(torch.tensor([7, 3, 7, 7]), torch.tensor([5, 0, 1, 9]))
    (tensor([1, 0, 1, 1]), tensor([1, 0, 0, 2]), tensor([1, 3]))
    """
    _, number, lengths = torch.unique(dialogue, return_inverse=True, return_counts=True)
    order = position.argsort(stable=True)
    order = order[number[order].argsort(stable=True)]
    begins = (lengths.cumsum(0) - lengths)[number[order]]
    step = torch.empty_like(order)
    step[order] = torch.arange(len(order), device=order.device) - begins
    return number, step, lengths


def neighbours(batch: Batch, config: ContextConfig) -> Neighbours | None:
    """The neighbours of each row in its dialogue; None if the batch names no dialogues, or none are to be read.

    >>> keys, mask = torch.arange(4), torch.tensor([[True], [True], [False], [True]])
    >>> dialogue, position = torch.tensor([5, 5, 5, 6]), torch.tensor([0, 3, 4, 0])
    >>> near = neighbours(Batch({}, {}, mask, mask, keys, None, dialogue, position), ContextConfig("both", 1))
    >>> near.mask.tolist()
    [[False, True], [True, False], [True, False], [False, False]]
    """
    if batch.dialogue is None or batch.position is None or not config.offsets:
        return None
    number, step, lengths = dialogue_steps(batch.dialogue, batch.position)
    row_at = torch.full((len(lengths), int(lengths.max())), -1, device=step.device)
    row_at[number, step] = torch.arange(len(step), device=step.device)
    columns = _columns(config.offsets, row_at.shape[1])
    others = step[:, None] + torch.tensor(config.offsets[columns], device=step.device)
    inside = (others >= 0) & (others < lengths[number][:, None])
    rows = row_at[number[:, None], others.clamp(min=0, max=row_at.shape[1] - 1)].clamp(min=0)
    return Neighbours(rows, inside & batch.available.any(1)[rows], columns)


def _columns(offsets: tuple[int, ...], longest: int) -> slice:
    """The offsets within a dialogue of ``longest`` clips; the nearest ones where that is a single clip.

    >>> offsets = (-3, -2, -1, 1, 2, 3)
    >>> offsets[_columns(offsets, 3)], offsets[_columns(offsets, 1)], offsets[_columns(offsets, 9)]
    ((-2, -1, 1, 2), (-1, 1), (-3, -2, -1, 1, 2, 3))
    """
    reach = max(1, longest - 1)
    inside = [i for i, offset in enumerate(offsets) if abs(offset) <= reach]
    return slice(inside[0], inside[-1] + 1)


class ContextAttention(nn.Module):
    """Attention to neighbouring clips, for each of M members.

    Args:
        members: M.
        vector: width H of a clip's vector.
        outputs: O.
        config: see `ContextConfig`.
        dropout: dropout rate of the vectors before the hidden layer.
    """

    def __init__(self, members: int, vector: int, outputs: int, config: ContextConfig, dropout: float) -> None:
        super().__init__()
        width, offsets = config.hidden, len(config.offsets)
        self.offset_embedding = nn.Parameter(torch.randn(members, offsets, width) * 0.02)
        self.offset_bias = nn.Parameter(torch.zeros(members, offsets))
        self.context_dropout = nn.Dropout(config.dropout)
        self.in_proj = MemberLinear(members, vector + outputs, width)
        self.query = MemberLinear(members, vector, width)
        self.key_value = MemberLinear(members, width, 2 * width)
        self.direct = MemberLinear(members, width, outputs, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.hidden = MemberLinear(members, vector + width, vector)
        self.out_proj = MemberLinear(members, vector, outputs, bias=False)

    @property
    def is_off(self) -> bool:
        """Whether it was turned off (`turn_off`)."""
        return not bool(self.direct.weight.any()) and not bool(self.out_proj.weight.any())

    @torch.no_grad()
    def turn_off(self) -> None:
        """Add nothing to any output: for training without neighbours, which would leave initial weights in use."""
        self.direct.weight.zero_()
        self.out_proj.weight.zero_()

    def forward(self, targets: ClipVectors, clips: ClipVectors, near: Neighbours) -> Tensor:
        """What the neighbours add to the output, ``(M, R, O)``; 0 for a target without any.

        Args:
            targets: R clips that read.
            clips: N clips that are read.
            near: the neighbours of each target among the clips.
        """
        return self.attend(targets, self.keys_and_values(clips), near)

    def keys_and_values(self, clips: ClipVectors) -> KeysAndValues:
        """Keys and values ``(M, N, hidden)`` of N clips that are read."""
        assert clips.fused is not None
        context = torch.cat([clips.fused, clips.output], dim=2)
        key, value = self.key_value(nn.functional.gelu(self.in_proj(self.context_dropout(context)))).chunk(2, dim=2)
        return key, value

    def attend(self, targets: ClipVectors, clips: KeysAndValues, near: Neighbours) -> Tensor:
        """`forward`, with the keys and values of the clips that are read."""
        assert targets.fused is not None
        key, value = clips
        query = self.query(targets.fused)[:, :, None]
        keys = key[:, near.rows] + self.offset_embedding[:, None, near.columns]
        scores = (query * keys).sum(3) / query.shape[3] ** 0.5 + self.offset_bias[:, None, near.columns]
        scores = scores.masked_fill(~near.mask, -torch.inf)
        null = scores.new_zeros(*scores.shape[:2], 1)
        weights = torch.cat([scores, null], dim=2).softmax(2)[..., :-1]
        attended = (weights[..., None] * value[:, near.rows]).sum(2)
        hidden = nn.functional.gelu(self.hidden(self.dropout(torch.cat([targets.fused, attended], dim=2))))
        added = self.direct(attended) + self.out_proj(hidden)
        return torch.where(near.mask.any(1)[:, None], added, 0.0)
