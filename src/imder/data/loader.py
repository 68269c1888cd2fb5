"""Batches of a split under masks.

A batch holds (row, mask) pairs, or whole dialogues of pairs for systems that use neighbouring clips. The order of pairs is a
function of (seed, epoch), so a resumed run gets the batches of an uninterrupted one, whatever the number of processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imder.data.corpus import Ragged, Split
from imder.types import Batch


def collate(
    split: Split,
    rows: NDArray[np.int64],
    available: NDArray[np.bool_],
    visible: NDArray[np.bool_] | None = None,
    dialogue: NDArray[np.int64] | None = None,
) -> Batch:
    """A padded batch of some rows.

    Args:
        split: the samples.
        rows: ``(B,)`` row numbers.
        available: ``(B, K)`` bool, the mask of these rows.
        visible: ``(B, K)`` bool, the modalities that the batch may call present; None for all. Training with permanently
            missing modalities hides them here, before any later code can read them.
        dialogue: ``(B,)`` numbers of whole dialogues (`imder.data.dialogues`), or None.
    """
    present = split.present[rows] if visible is None else split.present[rows] & visible
    available = available & present
    features, lengths = {}, {}
    for k, (name, ragged) in enumerate(split.features.items()):
        features[name], lengths[name] = _pad(ragged, rows, present[:, k])
    return Batch(
        features,
        lengths,
        torch.from_numpy(present),
        torch.from_numpy(available),
        torch.from_numpy(split.keys[rows]),
        None if split.labels is None else torch.from_numpy(split.labels[rows]),
        *((None, None, None) if dialogue is None else _dialogue_columns(split, rows, dialogue)),
    )


def _dialogue_columns(
    split: Split, rows: NDArray[np.int64], dialogue: NDArray[np.int64]
) -> tuple[Tensor, Tensor, Tensor]:
    """Dialogue, position and speaker of the rows, ``(B,)`` each, for `Batch`."""
    names = [] if split.speaker is None else [split.speaker[int(i)] for i in rows]
    number = {name: i for i, name in enumerate(dict.fromkeys(names))} | {"": -1}
    speaker = np.array([number[name] for name in names] or [-1] * len(rows), dtype=np.int64)
    position = np.zeros(len(rows), np.int64) if split.position is None else split.position[rows]
    return torch.from_numpy(dialogue), torch.from_numpy(position), torch.from_numpy(speaker)


def _pad(ragged: Ragged, rows: NDArray[np.int64], present: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
    """Features ``(B, T, D)`` float32, padded with zeros, and lengths ``(B,)``.

    Rows are read in the order of the file, which is faster from disk. Half precision is widened by torch for the whole batch,
    seven times as fast as by numpy.
    """
    lengths = ragged.lengths[rows] * present
    half = ragged.values.dtype == np.float16
    shape = (len(rows), max(1, int(lengths.max(initial=1))), ragged.dim)
    out = np.zeros(shape, dtype=np.float16 if half else np.float32)
    values = np.asarray(ragged.values)  # still memory-mapped, but slices several times as fast as a memmap
    begins, counts = ragged.offsets[rows].tolist(), lengths.tolist()
    for i in np.argsort(rows, kind="stable").tolist():
        out[i, : counts[i]] = values[begins[i] : begins[i] + counts[i]]
    return torch.from_numpy(out).float(), torch.from_numpy(lengths)


@dataclass(frozen=True)
class MaskedLoader:
    """One pass over (row, mask) pairs in batches; iterating twice gives the same batches.

    Attributes:
        split: the samples.
        rows: ``(M,)`` row numbers, in order.
        available: ``(M, K)`` bool, the masks.
        batch_size: units in each *global* batch: pairs, or dialogues.
        visible: ``(N, K)`` bool over the split's rows, or None: see `collate`.
        rank, world: this process takes every ``world``-th unit of each global batch, starting at its ``rank``-th. If a
            global batch has too few units, the remaining processes get its first unit as padding (`is_padding`), so all
            processes have the same number of non-empty batches.
        dialogue: ``(M,)`` int64 or None: consecutive pairs with one number are a unit.
    """

    split: Split
    rows: NDArray[np.int64]
    available: NDArray[np.bool_]
    batch_size: int
    visible: NDArray[np.bool_] | None = None
    rank: int = 0
    world: int = 1
    dialogue: NDArray[np.int64] | None = None

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """``(U + 1,)``: the start of each unit, and the end of the last."""
        if self.dialogue is None or not len(self.rows):
            return np.arange(len(self.rows) + 1)
        return np.flatnonzero(np.diff(self.dialogue, prepend=self.dialogue[0] - 1, append=self.dialogue[-1] - 1))

    def __len__(self) -> int:
        return -(-(len(self._ends) - 1) // self.batch_size)

    def is_padding(self, index: int) -> bool:
        """Whether the batch with this index is padding in this process."""
        return index * self.batch_size + self.rank >= min((index + 1) * self.batch_size, len(self._ends) - 1)

    def batch_indices(self, index: int) -> NDArray[np.int64]:
        """The pairs of the batch with this index: ``(B,)`` numbers below M."""
        start = index * self.batch_size
        units = np.arange(start + self.rank, min(start + self.batch_size, len(self._ends) - 1), self.world)
        return self._pairs(np.array([start]) if self.is_padding(index) else units)

    def _pairs(self, units: NDArray[np.int64]) -> NDArray[np.int64]:
        """The pairs of these units, in order."""
        if self.dialogue is None:
            return units
        return np.concatenate([np.arange(*self._ends[u : u + 2]) for u in units] or [units])

    def __iter__(self) -> Iterator[Batch]:
        for index in range(len(self)):
            pairs = self.batch_indices(index)
            rows = self.rows[pairs]
            visible = None if self.visible is None else self.visible[rows]
            dialogue = None if self.dialogue is None else self.dialogue[pairs]
            yield collate(self.split, rows, self.available[pairs], visible, dialogue)

    def shuffled(self, seed: int, epoch: int) -> MaskedLoader:
        """The same pairs in an epoch's random order; dialogues stay together."""
        rng = np.random.default_rng(np.random.SeedSequence((seed, epoch, 0xF1E1D)))
        order = self._pairs(rng.permutation(len(self._ends) - 1))
        dialogue = None if self.dialogue is None else self.dialogue[order]
        return replace(self, rows=self.rows[order], available=self.available[order], dialogue=dialogue)


def available_loader(
    split: Split, available: NDArray[np.bool_], batch_size: int, visible: NDArray[np.bool_] | None = None
) -> MaskedLoader:
    """A loader of the rows that have any modality available under a mask ``(N, K)``, in file order."""
    rows = np.flatnonzero((available & split.present).any(1))
    return MaskedLoader(split, rows, available[rows], batch_size, visible)
