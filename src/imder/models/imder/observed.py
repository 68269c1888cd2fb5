"""What is observed of some clips, from which a recovery samples the encodings of what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from imder.models.imder.neighbour_condition import NeighbourEncodings
from imder.models.imder.remaining import Remaining


@dataclass(frozen=True)
class ObservedEncodings:
    """R rows. A recovery of one modality reads the encodings of the others, and ``remaining`` of that modality alone.

    Attributes:
        encodings: of every modality, ``(R, width, steps_k)``; anything where unavailable.
        available: ``(R, K)`` bool, what the condition may use.
        neighbours: the neighbours of the rows, if they are read.
        remaining: of every modality, where steps of some are erased.
    """

    encodings: Mapping[str, Tensor]
    available: Tensor
    neighbours: NeighbourEncodings | None = None
    remaining: Mapping[str, Remaining] | None = None

    def __len__(self) -> int:
        """R, the number of rows."""
        return len(self.available)

    def take(self, rows: Tensor | slice) -> ObservedEncodings:
        """Some of the rows; numbers may occur several times."""
        return ObservedEncodings(
            {k: e[rows] for k, e in self.encodings.items()},
            self.available[rows],
            None if self.neighbours is None else self.neighbours.take(rows),
            None if self.remaining is None else {k: r.take(rows) for k, r in self.remaining.items()},
        )

    def remaining_of(self, target: str) -> Remaining | None:
        """What remains of a modality itself; None where no step is erased."""
        return None if self.remaining is None else self.remaining[target]
