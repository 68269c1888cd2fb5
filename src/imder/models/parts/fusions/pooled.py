"""Fusion of ``fast``: pooled modalities with states, a gate across them, and a linear expert for each.

Each modality is pooled to the mean, the deviation and the deviation of differences of its encoding over time: with short
sequences, pooling matters more than what follows. The modality's vector h_k, or a learned token where it is missing, gets an
embedding of its *state* (missing, available or recovered): a fusion that isn't told what was recovered gets worse, on
complete inputs too. A gate over all vectors and states weighs them:

    f = sqrt(K) sum_k softmax(gate([z_1 .. z_K]))_k z_k,    y = W f + sum_k V_k h_k    (h_k = 0 where k is missing).

The last sum is a linear expert for each modality: with few labels, most of what can be learned.

M members are M such fusions with weights and dropout of their own, each on its own W of the encodings' M W channels.

A fusion that *reads recoveries* has a second reader g_k for each modality. A recovered encoding, of W channels for all
members, adds to the token of its missing modality:

    z_k = token_k + U_k g_k(r_k) + state embedding,    y = ... + T_k g_k(r_k).

U and T start at 0: such a fusion starts as the fusion that it was copied from, and learns what recoveries add.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from imder.models.parts.fusions.base import AVAILABLE, MISSING, RECOVERED, ClipVectors, Fusion, FusionConfig
from imder.nn.members import MemberLinear
from imder.nn.module_dict import ModuleDict


def pool(encoding: Tensor, members: int = 1) -> Tensor:
    """Mean, deviation and deviation of differences over time.

    Args:
        encoding: ``(B, M W, L)``.
        members: M.

    Returns:
        ``(M, B, 3 W)``, or ``(M, B, W)`` if L is 1.
    """
    mean = encoding.mean(2)
    if encoding.shape[2] == 1:
        return mean.reshape(mean.shape[0], members, -1).transpose(0, 1)
    deviation = ((encoding - mean[..., None]).square().mean(2) + 1e-6).sqrt()  # var() is several times slower
    difference = (encoding.diff(dim=2).square().mean(2) + 1e-6).sqrt()
    statistics = torch.stack([mean, deviation, difference], dim=1).reshape(mean.shape[0], 3, members, -1)
    return statistics.permute(2, 0, 1, 3).flatten(2)


def _pool_rows(encoding: Tensor, rows: Tensor, members: int) -> Tensor:
    """Statistics of some rows of ``(N, M W, L)``, each distinct row pooled once."""
    distinct, index = torch.unique(rows, return_inverse=True)
    return pool(encoding[distinct], members)[:, index]


class PooledReader(nn.Module):
    """One modality's pooled encoding to its vector: normalise, drop, one hidden layer; for each of M members.

    Args:
        width: channels W of a member's encoding.
        steps: of the encoding.
        config: see `FusionConfig`.
        members: M.
    """

    def __init__(self, width: int, steps: int, config: FusionConfig, members: int = 1) -> None:
        super().__init__()
        self.single = steps == 1
        size = width if self.single else 3 * width
        self.gain = nn.Parameter(torch.ones(members, 1, size))
        self.shift = nn.Parameter(torch.zeros(members, 1, size))
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.hidden = MemberLinear(members, size, config.hidden)
        self.output_dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Statistics ``(M, B, S)`` of `pool` -> ``(M, B, hidden)``."""
        if not self.single:  # normalising a single step over its channels would lose the vector's magnitude
            x = nn.functional.layer_norm(x, x.shape[-1:])
        hidden = nn.functional.gelu(self.hidden(self.input_dropout(x * self.gain + self.shift)))
        out: Tensor = self.output_dropout(hidden)
        return out


class RecoveredReader(nn.Module):
    """A recovered encoding to what it adds to a missing modality's vector and to the output; 0 before training.

    Args:
        width: channels W of the encoding, which all members read.
        steps: of the encoding.
        outputs: O.
        config: see `FusionConfig`.
        members: M.
    """

    def __init__(self, width: int, steps: int, outputs: int, config: FusionConfig, members: int) -> None:
        super().__init__()
        self.members = members
        self.reader = PooledReader(width, steps, config, members)
        self.vector = MemberLinear(members, config.hidden, config.hidden, bias=False)
        self.expert = MemberLinear(members, config.hidden, outputs, bias=False)
        for layer in (self.vector, self.expert):
            nn.init.zeros_(layer.weight)

    def forward(self, encoding: Tensor) -> tuple[Tensor, Tensor]:
        """``(R, W, L)`` -> ``(M, R, hidden)`` and ``(M, R, O)``."""
        read = self.reader(pool(encoding).expand(self.members, -1, -1))
        return self.vector(read), self.expert(read)


class PooledFusion(Fusion):
    """Late fusion with states; see `Fusion` and `FusionConfig` for the arguments."""

    reads_state = True

    def __init__(
        self,
        steps: Mapping[str, int],
        width: int,
        outputs: int,
        config: FusionConfig,
        members: int = 1,
        *,
        reads_recoveries: bool = False,
    ) -> None:
        super().__init__(steps, width, outputs, config)
        hidden, count = config.hidden, len(steps)
        self.members = members
        self.readers = ModuleDict[PooledReader]({k: PooledReader(width, n, config, members) for k, n in steps.items()})
        self.missing_token = nn.Parameter(torch.randn(count, members, hidden) * 0.02)
        self.state_embedding = nn.Parameter(torch.randn(3, count, members, hidden) * 0.02)
        self.gate = nn.Sequential(
            MemberLinear(members, count * (hidden + 3), hidden), nn.GELU(), MemberLinear(members, hidden, count)
        )
        self.experts = ModuleDict[MemberLinear]({k: MemberLinear(members, hidden, outputs, bias=False) for k in steps})
        self.head = MemberLinear(members, hidden, outputs)
        self.recovered = ModuleDict[RecoveredReader](
            {k: RecoveredReader(width, n, outputs, config, members) for k, n in steps.items()}
            if reads_recoveries
            else {}
        )

    @torch.no_grad()
    def start_from(self, fusion: PooledFusion) -> None:
        """Copy a fusion that doesn't read recoveries; what is recovered starts as missing."""
        self.load_state_dict({**self.state_dict(), **fusion.state_dict()})
        count, hidden = self.missing_token.shape[0], self.missing_token.shape[2]
        first = self.gate[0]
        assert isinstance(first, MemberLinear)
        states = first.weight[..., count * hidden :]  # of the one-hot states
        states[..., RECOVERED::3] = states[..., MISSING::3]
        self.state_embedding[RECOVERED] = self.state_embedding[MISSING]

    def vectors(
        self,
        encodings: Mapping[str, Tensor],
        state: Tensor,
        rows: Tensor | None = None,
        recovered: Mapping[str, tuple[Tensor, Tensor]] | None = None,
    ) -> ClipVectors:
        """Fuse (see `Fusion`); an encoding that several rows use is pooled once.

        Args:
            encodings: see `Fusion.vectors`; of M W channels.
            state: see `Fusion.vectors`.
            rows: see `Fusion.vectors`.
            recovered: for modalities that some row lacks: rows ``(R,)`` of the B, those of state `RECOVERED`, and their
                encodings ``(R, W, L)``.
        """
        members, count = self.members, len(state)
        vectors = []
        direct = self.head.weight.new_zeros(members, count, self.head.out_features)
        for i, name in enumerate(self.names):
            visible = (state[:, i] == AVAILABLE).nonzero().squeeze(1)
            vector = self.missing_token[i][:, None].expand(-1, count, -1)
            if len(visible):
                encoding = encodings[name]
                if rows is None:
                    pooled = pool(encoding[visible], members)
                else:
                    pooled = _pool_rows(encoding, rows[visible, i], members)
                read = self.readers[name](pooled)
                vector = vector.index_copy(1, visible, read.to(vector.dtype))
                direct = direct.index_add(1, visible, self.experts[name](read).to(direct.dtype))
            if recovered is not None and name in recovered:
                filled, encoding = recovered[name]
                added, voted = self.recovered[name](encoding)
                vector = vector.index_add(1, filled, added.to(vector.dtype))
                direct = direct.index_add(1, filled, voted.to(direct.dtype))
            vectors.append(vector + self.state_embedding[state[:, i], i].transpose(0, 1))
        stacked = torch.stack(vectors, dim=2)
        states = nn.functional.one_hot(state, 3).to(stacked).flatten(1).expand(members, -1, -1)
        weights = self.gate(torch.cat([stacked.flatten(2), states], dim=2)).softmax(2)
        fused = (weights[..., None] * stacked).sum(2) * len(self.names) ** 0.5
        return ClipVectors(fused, self.head(fused) + direct)

    def forward(self, encodings: Mapping[str, Tensor], state: Tensor, rows: Tensor | None = None) -> Tensor:
        """The members' mean output (see `Fusion`)."""
        return self.vectors(encodings, state, rows).output.mean(0)
