"""What a prediction with context needs of each clip alone, so that it is computed once for many masks of its neighbours."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from imder.types import Batch, Output


@runtime_checkable
class ClipStates(Protocol):
    """A system with context that can tell a clip's own part from that of its neighbours."""

    def clip_states(self, batch: Batch) -> dict[str, Tensor] | None:
        """Tensors ``(B, ...)`` by name for B rows under their masks; None where a row's part depends on its neighbours."""
        ...

    def predict_states(self, states: dict[str, Tensor], batch: Batch) -> Output:
        """The prediction (`Model.predict`) from `clip_states` of the batch's rows; ``batch`` needs no features."""
        ...
