r"""Multimodal transformer fusion (MulT; Tsai et al., ACL 2019), for encodings of one width W.

Every modality is a target that each of the others informs through a cross-modal transformer; the informed sequences are
concatenated, read by a self-attention transformer and taken at its last step; the K readouts make the output:

    m_i = concat_{j != i} CMA_{i<-j}(h_i, h_j)          ((K-1) W channels)
    r   = concat_i [ memory_i(m_i) at the last step ]   (K (K-1) W)
    y   = W_out (r + W_2 dropout(relu(W_1 r))).

A missing encoding is zeros; recovered encodings count as available. (The official code's layers, for any K.)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imder.models.parts.fusions.base import MISSING, Fusion, FusionConfig
from imder.nn.module_dict import ModuleDict
from imder.nn.transformer import CrossModalEncoder
from imder.types import ImderError


class MulTFusion(Fusion):
    """The multimodal transformer; see `Fusion` and `FusionConfig` for the arguments.

    The transformers' width W and (K-1) W must be divisible by ``config.heads`` (`ImderError` otherwise).
    """

    reads_state = False

    def __init__(self, steps: Mapping[str, int], width: int, outputs: int, config: FusionConfig) -> None:
        super().__init__(steps, width, outputs, config)
        order = config.readout_order
        self.order = order if len(order) == len(steps) and set(order) == set(steps) else self.names
        self.dropout = config.dropout

        def encoder(channels: int, attention_dropout: float) -> CrossModalEncoder:
            return CrossModalEncoder(
                channels,
                config.heads,
                config.layers,
                attention_dropout,
                config.embedding_dropout,
                config.dropout,
                causal=config.causal,
                zero_is_padding=config.causal,
            )

        pairs = [(target, source) for target in self.order for source in self.order if source != target]
        self.cross = ModuleDict[CrossModalEncoder](
            {
                f"{target}+{source}": encoder(width, config.audio_dropout if source == "audio" else 0.0)
                for target, source in pairs
            }
        )
        joint = (len(steps) - 1) * width
        self.memory = ModuleDict[CrossModalEncoder]({name: encoder(joint, config.dropout) for name in self.order})
        self.expand = nn.Linear(len(steps) * joint, len(steps) * joint)
        self.contract = nn.Linear(len(steps) * joint, len(steps) * joint)
        self.head = nn.Linear(len(steps) * joint, outputs)

    def readout(self, encodings: Mapping[str, Tensor]) -> Tensor:
        """What the head reads: encodings ``(B, W, L_k)`` (the lengths may differ) -> ``(B, K (K-1) W)``."""
        if missing := [name for name in self.order if name not in encodings]:
            raise ImderError(f"fusion has no encoding of {missing}; it needs {list(self.order)}")
        reads = []
        for target in self.order:
            informed = [
                self.cross[f"{target}+{source}"](encodings[target], encodings[source])
                for source in self.order
                if source != target
            ]
            reads.append(self.memory[target](torch.cat(informed, dim=1))[:, :, -1])
        return torch.cat(reads, dim=1)

    def forward(self, encodings: Mapping[str, Tensor], state: Tensor, rows: Tensor | None = None) -> Tensor:
        """Fuse (see `Fusion`)."""
        given = {}
        for i, name in enumerate(self.names):
            encoding = encodings[name] if rows is None else encodings[name][rows[:, i]]
            given[name] = torch.where(state[:, i, None, None] != MISSING, encoding, 0.0)
        readout = self.readout(given)
        hidden = F.dropout(F.relu(self.expand(readout)), self.dropout, self.training)
        output: Tensor = self.head(readout + self.contract(hidden))
        return output
