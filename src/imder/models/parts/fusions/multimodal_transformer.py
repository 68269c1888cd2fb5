r"""Multimodal transformer fusion, and how several available modalities become one condition.

*Fusion* (MulT; Tsai et al., ACL 2019), for modalities 1 ... K with encodings of one width W: every modality is a target
that each of the others informs through a cross-modal transformer; what a target learnt is put together, thought over by
a self-attention transformer and read at its last step; the K readouts together make the prediction:

    m_i = concat_{j != i} CMA_{i<-j}(h_i, h_j)          ((K-1) W channels)
    r   = concat_i [ memory_i(m_i) at the last step ]   (K (K-1) W)
    y   = W_out (r + W_2 dropout(relu(W_1 r))).

*Condition*: for each subset of 2 ... K-1 available modalities one kernel-1 convolution of their concatenated encodings;
a single available modality is its own condition. (The released code's layers, for any K.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imder.nn.transformer import CrossModalEncoder
from imder.types import ImderError


def _check(names: Sequence[str]) -> tuple[str, ...]:
    if len(names) < 2 or len(set(names)) != len(names):
        raise ImderError(f"fusion needs at least two modalities with different names, got {list(names)}")
    return tuple(names)


class MulTFusion(nn.Module):
    """Fuses the encodings of K >= 2 modalities into a prediction.

    Args:
        names: the modalities, in the order of the readout (released code: language, audio, vision).
        width: channels W of the encodings.
        heads: attention heads; must divide W and (K-1) W.
        layers: layers of each transformer.
        outputs: width O of the prediction.
        attention_dropout: on the attention weights of the cross-modal transformers, one rate or one for each *source*
            modality (0 where it names none).
        embedding_dropout: on embedded sequences.
        dropout: everywhere else: the memory transformers' attention, feed-forward nets, residuals, the head.
        causal: whether all attention is causal, as in the released code.
        zero_is_padding: see `imder.nn.transformer`.
    """

    def __init__(
        self,
        names: Sequence[str],
        width: int = 32,
        heads: int = 8,
        layers: int = 4,
        outputs: int = 1,
        attention_dropout: float | Mapping[str, float] = 0.0,
        embedding_dropout: float = 0.0,
        dropout: float = 0.0,
        causal: bool = False,
        zero_is_padding: bool = False,
    ) -> None:
        super().__init__()
        self.names = _check(names)
        self.dropout = dropout
        rates = attention_dropout if isinstance(attention_dropout, Mapping) else dict.fromkeys(names, attention_dropout)
        if unknown := sorted(set(rates) - set(names)):
            raise ImderError(f"attention dropout is given for {unknown}, but the modalities are {list(names)}")

        def encoder(channels: int, rate: float) -> CrossModalEncoder:
            return CrossModalEncoder(
                channels,
                heads,
                layers,
                rate,
                embedding_dropout,
                dropout,
                causal=causal,
                zero_is_padding=zero_is_padding,
            )

        self.cross = nn.ModuleDict(
            {f"{target}+{source}": encoder(width, rates.get(source, 0.0)) for target, source in self._pairs()}
        )
        joint = (len(names) - 1) * width
        self.memory = nn.ModuleDict({name: encoder(joint, dropout) for name in names})
        self.hidden = nn.Linear(len(names) * joint, len(names) * joint)
        self.mixed = nn.Linear(len(names) * joint, len(names) * joint)
        self.out = nn.Linear(len(names) * joint, outputs)

    def _pairs(self) -> list[tuple[str, str]]:
        return [(target, source) for target in self.names for source in self.names if source != target]

    def forward(self, encodings: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Fuse.

        Args:
            encodings: for each modality ``(B, W, L_k)`` (the lengths may differ).

        Returns:
            The output ``(B, O)`` and the readout ``(B, K (K-1) W)``.
        """
        if missing := [name for name in self.names if name not in encodings]:
            raise ImderError(f"fusion has no encoding of {missing}; it needs {list(self.names)}")
        reads = []
        for target in self.names:
            informed = [
                self.cross[f"{target}+{source}"](encodings[target], encodings[source])
                for source in self.names
                if source != target
            ]
            reads.append(self.memory[target](torch.cat(informed, dim=1))[:, :, -1])
        readout = torch.cat(reads, dim=1)
        hidden = F.dropout(F.relu(self.hidden(readout)), self.dropout, self.training)
        output: Tensor = self.out(readout + self.mixed(hidden))
        return output, readout


class SubsetCondition(nn.Module):
    """One condition from any proper subset of the modalities.

    Args:
        names: the modalities; encodings are concatenated in this order (released code: language, vision, audio).
        width: channels W of the encodings.
    """

    def __init__(self, names: Sequence[str], width: int = 32) -> None:
        super().__init__()
        self.names = _check(names)
        self.fuse = nn.ModuleDict(
            {
                "+".join(subset): nn.Conv1d(size * width, width, 1)
                for size in range(2, len(names))
                for subset in combinations(names, size)
            }
        )

    def forward(self, encodings: Mapping[str, Tensor]) -> Tensor:
        """The condition made of the encodings given: one of them as it is, several fused.

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
