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
from imder.data.erasure import Erasure
from imder.data.token_ids import LANGUAGE
from imder.types import Batch


def collate(
    split: Split,
    rows: NDArray[np.int64],
    available: NDArray[np.bool_],
    visible: NDArray[np.bool_] | None = None,
    dialogue: NDArray[np.int64] | None = None,
    erasure: Erasure | None = None,
    complete: bool = False,
) -> Batch:
    """A padded batch of some rows.

    Args:
        split: the samples.
        rows: ``(B,)`` row numbers.
        available: ``(B, K)`` bool, the mask of these rows.
        visible: ``(B, K)`` bool, the modalities that the batch may call present; None for all. Training with permanently
            missing modalities hides them here, before any later code can read them.
        dialogue: ``(B,)`` numbers of whole dialogues (`imder.data.dialogues`), or None.
        erasure: the erased steps of these rows; of available modalities alone, since no prediction reads others.
        complete: whether the batch also holds the features before erasure.
    """
    present = split.present[rows] if visible is None else split.present[rows] & visible
    available = available & present
    features, lengths = {}, {}
    for k, (name, ragged) in enumerate(split.features.items()):
        features[name], lengths[name] = _pad(ragged, rows, present[:, k])
    erased = None if erasure is None else _erased(split, rows, available, erasure, lengths, features)
    whole = features if erased is not None and complete else None
    if erased is not None:
        features = {name: _erase(split, rows, name, x, lengths[name], erased[name]) for name, x in features.items()}
    none = (None, None, None)
    dialogues, position, speaker = none if dialogue is None else _dialogue_columns(split, rows, dialogue)
    return Batch(
        features,
        lengths,
        torch.from_numpy(present),
        torch.from_numpy(available),
        torch.from_numpy(split.keys[rows]),
        None if split.labels is None else torch.from_numpy(split.labels[rows]),
        dialogues,
        position,
        speaker,
        erased,
        whole,
    )


def _erased(
    split: Split,
    rows: NDArray[np.int64],
    available: NDArray[np.bool_],
    erasure: Erasure,
    lengths: dict[str, Tensor],
    features: dict[str, Tensor],
) -> dict[str, Tensor]:
    """The erased steps ``(B, T_k)`` of each modality."""
    erased = {}
    for k, name in enumerate(split.features):
        valid = lengths[name].numpy()
        steps = erasure.steps(k, name, split.keys[rows], valid * available[:, k], features[name].shape[1])
        if name == LANGUAGE and split.words is not None:  # the tokens that mark both ends of a text
            steps[:, 0] = False
            steps[np.arange(len(rows)), np.maximum(valid - 1, 0)] = False
        erased[name] = torch.from_numpy(steps)
    return erased


def _erase(
    split: Split, rows: NDArray[np.int64], name: str, features: Tensor, lengths: Tensor, erased: Tensor
) -> Tensor:
    """Features with 0, or the unknown token, in place of the erased steps."""
    if not bool(erased.any()):
        return features
    words = split.words if name == LANGUAGE else None
    if words is None:
        return features.masked_fill(erased[..., None], 0.0)
    if words.ids is None:
        return features.masked_fill(erased[..., None], float(words.encoder.unknown_token))
    changed = erased.any(1).nonzero().squeeze(1)
    ids = _pad(words.ids, rows[changed.numpy()], np.ones(len(changed), bool))[0][..., 0].long()
    ids = ids.masked_fill(erased[changed, : ids.shape[1]], words.encoder.unknown_token)
    states = words.encoder.features_of(ids, lengths[changed])
    padded = torch.nn.functional.pad(states, (0, 0, 0, features.shape[1] - states.shape[1]))
    return features.index_copy(0, changed, padded)


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
        erasure: of the M pairs, under a protocol that erases frames; None where nothing is erased.
        complete: whether batches also hold the features before erasure, as losses need them.
    """

    split: Split
    rows: NDArray[np.int64]
    available: NDArray[np.bool_]
    batch_size: int
    visible: NDArray[np.bool_] | None = None
    rank: int = 0
    world: int = 1
    dialogue: NDArray[np.int64] | None = None
    erasure: Erasure | None = None
    complete: bool = False

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
        return map(self.batch, range(len(self)))

    def batch(self, index: int) -> Batch:
        """The batch with this index."""
        pairs = self.batch_indices(index)
        rows = self.rows[pairs]
        visible = None if self.visible is None else self.visible[rows]
        return collate(self.split, rows, self.available[pairs], visible, *self._columns(pairs), self.complete)

    def available_batch(self, index: int) -> Batch:
        """The batch with this index, which holds nothing that isn't available and no features of erased frames."""
        pairs = self.batch_indices(index)
        mask = self.available[pairs]
        return collate(self.split, self.rows[pairs], mask, mask, *self._columns(pairs))

    def _columns(self, pairs: NDArray[np.int64]) -> tuple[NDArray[np.int64] | None, Erasure | None]:
        """Dialogues and erasure of some pairs."""
        dialogue = None if self.dialogue is None else self.dialogue[pairs]
        return dialogue, None if self.erasure is None else self.erasure.take(pairs)

    def take(self, pairs: NDArray[np.int64]) -> MaskedLoader:
        """Some of the pairs, in that order."""
        dialogue, erasure = self._columns(pairs)
        rows, available = self.rows[pairs], self.available[pairs]
        return replace(self, rows=rows, available=available, dialogue=dialogue, erasure=erasure)

    def shuffled(self, seed: int, epoch: int) -> MaskedLoader:
        """The same pairs in an epoch's random order; dialogues stay together."""
        rng = np.random.default_rng(np.random.SeedSequence((seed, epoch, 0xF1E1D)))
        return self.take(self._pairs(rng.permutation(len(self._ends) - 1)))


def available_loader(
    split: Split, available: NDArray[np.bool_], batch_size: int, visible: NDArray[np.bool_] | None = None
) -> MaskedLoader:
    """A loader of the rows that have any modality available under a mask ``(N, K)``, in file order."""
    rows = np.flatnonzero((available & split.present).any(1))
    return MaskedLoader(split, rows, available[rows], batch_size, visible)
