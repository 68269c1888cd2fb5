"""Which clips are evidence for which: whole dialogues, or a window of each clip.

The clips of a dialogue are ordered by position and a window counts clips; the difference of two positions is the time
between them. A clip without a dialogue name or a position is a dialogue of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Split
from imder.data.dialogues import dialogue_numbers
from imder.synthetic.affine import Array
from imder.synthetic.kalman import States, filter_states, innovation, smooth_states
from imder.types import ImderError

Numbers = NDArray[np.int64]
Direction = Literal["both", "past"]


@dataclass(frozen=True)
class ClipSequences:
    """B sequences of L clips, and where they answer for R clips.

    Attributes:
        rows: (B, L), row numbers of a split; -1 where a sequence has no clip.
        gaps: (B, L - 1), the time between successive clips; 1 beside a -1.
        sequence, step: (R,) each, where the clips are that an answer is wanted for.
    """

    rows: Numbers
    gaps: Numbers
    sequence: Numbers
    step: Numbers

    @classmethod
    def of(cls, split: Split, wanted: Numbers, direction: Direction, window: int | None) -> ClipSequences:
        """The evidence for the rows ``wanted`` (R,): ``window`` clips before them, for ``both`` also after; None for all.

        Raises:
            ImderError: there is no such direction or window, or two clips of a dialogue have the same position.
        """
        if direction not in ("both", "past"):
            raise ImderError(f"direction is {direction!r}; choose both or past")
        if window is None:
            return cls.dialogues(split, wanted)
        if window < 0:
            raise ImderError(f"window is {window}; it must be at least 0, or None for the whole dialogue")
        return cls.windows(split, wanted, window, window if direction == "both" else 0)

    @classmethod
    def dialogues(cls, split: Split, wanted: Numbers) -> ClipSequences:
        """The whole dialogues, which answer for the rows ``wanted`` (R,).

        Raises:
            ImderError: two clips of a dialogue have the same position.
        """
        order, dialogue = _order(split)
        sizes = np.unique(dialogue[order], return_counts=True)[1]
        sequence, step = np.empty((2, len(split)), np.int64)
        sequence[order] = np.repeat(np.arange(len(sizes)), sizes)
        step[order] = np.arange(len(split)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rows = np.full((len(sizes), int(sizes.max(initial=1))), -1)
        rows[sequence, step] = np.arange(len(split))
        return cls(rows, _gaps(split, rows), sequence[wanted], step[wanted])

    @classmethod
    def windows(cls, split: Split, wanted: Numbers, before: int, after: int) -> ClipSequences:
        """For each row ``wanted`` (R,) the clip itself and at most ``before`` earlier and ``after`` later ones.

        Raises:
            ImderError: two clips of a dialogue have the same position.
        """
        order, dialogue = _order(split)
        rank = np.empty(len(split), np.int64)
        rank[order] = np.arange(len(split))
        near = rank[wanted][:, None] + np.arange(-before, after + 1)
        rows = order[np.clip(near, 0, max(0, len(split) - 1))]
        same = (near >= 0) & (near < len(split)) & (dialogue[rows] == dialogue[wanted][:, None])
        rows = np.where(same, rows, -1)
        return cls(rows, _gaps(split, rows), np.arange(len(wanted)), np.full(len(wanted), before))

    def infer(self, transition: Array, covariance: Array, precision: Array, information: Array, smooth: bool) -> States:
        """p(z | evidence of the sequence) of R clips, for z of a stationary chain.

        Args:
            transition: F (Z, Z) from a position to the next.
            covariance: S (Z, Z) of z at any position.
            precision: P (N, Z, Z) of each row of the split.
            information: h (N, Z) of each row.
            smooth: whether later clips of a sequence are evidence too.
        """
        z = len(covariance)
        precision = np.concatenate([precision, np.zeros((1, z, z))])[self.rows]  # of row -1: nothing
        information = np.concatenate([information, np.zeros((1, z))])[self.rows]
        gaps = np.unique(np.append(self.gaps, 1))  # at least one, also where no clip has a neighbour
        powers = np.stack([np.linalg.matrix_power(transition, int(gap)) for gap in gaps])
        index = np.searchsorted(gaps, self.gaps)
        transitions, noises = powers[index], innovation(powers, covariance)[index]
        states, predicted = filter_states(States(np.zeros(z), covariance), transitions, noises, precision, information)
        if smooth:
            states = smooth_states(states, predicted, transitions)
        return states[self.sequence, self.step]


def _order(split: Split) -> tuple[Numbers, Numbers]:
    """Rows (N,) dialogue after dialogue and by position, and the dialogue of each row (N,)."""
    dialogue = dialogue_numbers(split)
    position = np.zeros(len(split), np.int64) if split.position is None else split.position
    return np.lexsort((position, dialogue)), dialogue


def _gaps(split: Split, rows: Numbers) -> Numbers:
    if split.position is None:
        return np.ones((len(rows), rows.shape[1] - 1), np.int64)
    both = (rows[:, 1:] >= 0) & (rows[:, :-1] >= 0)
    return np.where(both, np.diff(split.position[rows], axis=1), 1)
