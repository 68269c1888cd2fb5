"""The contract of a fusion: encodings, and the state of each modality, to the output.

A fusion is one class and one row of `imder.models.parts.fusions.FUSIONS`, by which ``fusion.kind`` chooses it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from imder.models.configuration import DROPOUT, POSITIVE_COUNT, check_numbers
from imder.nn.members import MemberLinear
from imder.types import ImderError

MISSING, AVAILABLE, RECOVERED = 0, 1, 2
"""States of a modality in one row."""

_NUMBERS = {
    **dict.fromkeys(("hidden", "heads", "layers"), POSITIVE_COUNT),
    **dict.fromkeys(("input_dropout", "dropout", "embedding_dropout", "audio_dropout"), DROPOUT),
}


@dataclass(frozen=True)
class ClipVectors:
    """Clips as M members of a fusion see them.

    Attributes:
        fused: ``(M, B, H)``, from which neighbouring clips are read (`imder.models.parts.context`); None for a kind of fusion
            that has no such vector.
        output: ``(M, B, O)``, the output from the clip alone.
    """

    fused: Tensor | None
    output: Tensor


@dataclass(frozen=True)
class FusionConfig:
    """Settings of every kind of fusion.

    Attributes:
        kind: ``pooled`` (statistics over time and a gate), or ``mult`` (the paper's multimodal transformer).
        hidden: number of hidden units for each modality (``pooled``).
        input_dropout: dropout rate of the pooled statistics (``pooled``).
        heads: attention heads of each transformer (``mult``).
        layers: layers of each transformer (``mult``).
        dropout: dropout rate of all other layers.
        embedding_dropout: dropout rate of embedded sequences (``mult``).
        audio_dropout: dropout rate of the attention to audio (``mult``).
        causal: attention as in the official code: causal, and steps whose first channel is exactly 0 get no position
            (``mult``).
        readout_order: the order in which modalities are read out (``mult``); used where it names exactly the modalities of
            the corpus, whose own order applies otherwise.
    """

    kind: str = "pooled"
    hidden: int = 64
    input_dropout: float = 0.3
    heads: int = 8
    layers: int = 4
    dropout: float = 0.5
    embedding_dropout: float = 0.0
    audio_dropout: float = 0.0
    causal: bool = False
    readout_order: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_numbers(self, _NUMBERS, "model.fusion")


class Fusion(nn.Module, ABC):
    """Fuses the encodings of K >= 2 modalities.

    Args:
        steps: of each modality's encoding, in the order of masks.
        width: channels of the encodings.
        outputs: width O of the output.
        config: see `FusionConfig`.
    """

    reads_state: ClassVar[bool]
    """Whether missing, available and recovered encodings are told apart."""

    head: nn.Linear | MemberLinear
    """The output layer, whose bias starts at the constant baseline."""

    def __init__(self, steps: Mapping[str, int], width: int, outputs: int, config: FusionConfig) -> None:
        super().__init__()
        del width, outputs, config
        if len(steps) < 2:
            raise ImderError(f"a fusion needs at least two modalities, got {list(steps)}")
        self.names = tuple(steps)

    @abstractmethod
    def forward(self, encodings: Mapping[str, Tensor], state: Tensor, rows: Tensor | None = None) -> Tensor:
        """Fuse.

        Args:
            encodings: for each modality ``(N, W, L_k)``; never read where the state is `MISSING`.
            state: ``(B, K)`` int64, one of `MISSING`, `AVAILABLE`, `RECOVERED`.
            rows: ``(B, K)``, which of the N encodings of each modality a row uses; None where N = B and row b uses b.

        Returns:
            ``(B, O)``.
        """

    def vectors(self, encodings: Mapping[str, Tensor], state: Tensor, rows: Tensor | None = None) -> ClipVectors:
        """The output of each member, and the vectors that context reads if there are any; arguments as in `forward`."""
        return ClipVectors(None, self(encodings, state, rows)[None])
