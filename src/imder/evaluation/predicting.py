"""Predictions for the cells of a protocol, each computed once.

A prediction depends on the sample, its available modalities and the seed of the noise, never on the batch. All cells
together therefore need at most N (2^K - 1) (sample, pattern) pairs, whatever the number of rates and draws: each pair is
predicted once and then looked up. Eight rates with ten draws of a three-modality split cost at most seven passes over it
instead of eighty. Recoveries are the same in every draw; only the masks vary.

Pairs are sorted by pattern, then by length, so that batches are uniform with little padding. A system receives neither
labels nor features of modalities that aren't available.

Predictions come as a *spread* (M, S, ...): one for each recovery of the missing modalities and each member, S = 1 for one
member where nothing is sampled. Metrics use the mean over S; the variation over S measures uncertainty.

A system whose prediction for a sample depends on other samples of the split (`Model.needs_dialogues`) receives whole cells
instead: all samples under a cell's masks, in batches of whole dialogues. Equal cells are still predicted once. What it needs
of each (sample, pattern) pair alone (`ClipStates.clip_states`) is computed once for all cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imder.data.corpus import Split
from imder.data.dialogues import whole_dialogues
from imder.data.loader import MaskedLoader, collate
from imder.evaluation.cells import EvaluationCell
from imder.models.base import Model
from imder.models.clip_states import ClipStates
from imder.models.finite import check_finite
from imder.types import Batch, ImderError, Task

STATES_AT_ONCE = 2048
"""Clips whose neighbours are read at once, from cached states."""

MOST_MODALITIES = 12
"""With more, a table of all patterns of each sample would be too large."""

RowNumbers = NDArray[np.int64]
Values = NDArray[Any]
Predict = Callable[[Split, RowNumbers, NDArray[np.bool_]], Values]
"""From a split, M row numbers and their ``available`` (M, K) to a spread: (M, S) values, or (M, S, C) probabilities.

S, the number of recoveries times that of members, is the same for all rows.
"""
Progress = Callable[[int, int], None]
"""Called with the number of predicted rows and the number of all rows."""


def predict_cells(
    predict: Predict, split: Split, cells: Sequence[EvaluationCell], *, whole: bool = False
) -> list[Values]:
    """The spread of each cell's served rows, in file order; every (sample, pattern) pair is predicted once.

    With ``whole``, ``predict`` gets whole cells one after the other, each with all rows of the split in order; rows that a
    cell doesn't serve have nothing available. Every distinct cell is predicted once.
    """
    served = [np.flatnonzero(cell.mask.any(axis=1)) for cell in cells]
    if whole:
        distinct = {cell.mask.tobytes(): cell.mask for cell in cells}
        all_rows = np.tile(np.arange(len(split)), len(distinct))
        spreads = predict(replace(split, labels=None), all_rows, np.concatenate(list(distinct.values())))
        each = dict(zip(distinct, np.split(spreads, len(distinct)), strict=True))
        return [each[cell.mask.tobytes()][s] for cell, s in zip(cells, served, strict=True)]
    rows = np.concatenate(served)
    masks = np.concatenate([cell.mask[s] for cell, s in zip(cells, served, strict=True)])
    _, pattern = np.unique(masks @ (1 << np.arange(masks.shape[1])), return_inverse=True)
    pairs = rows * (pattern.max(initial=0) + 1) + pattern
    _, first, position = np.unique(pairs, return_index=True, return_inverse=True)
    predicted = predict(replace(split, labels=None), rows[first], masks[first])
    return np.split(predicted[position], np.cumsum([len(s) for s in served])[:-1])


def model_predict(
    model: Model,
    *,
    samples: int | None = None,
    seed: int = 0,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Predict:
    """The ``predict`` function of a model for `predict_cells`.

    That of a model that uses context raises an `ImderError` unless it gets whole cells.
    """

    def predict(split: Split, rows: RowNumbers, available: NDArray[np.bool_]) -> Values:
        if not model.needs_dialogues(split):
            pairs, order = _by_pattern(MaskedLoader(split, rows, available, batch_size))
            predictions = _predict_batches(model, pairs, samples, seed, progress)
        else:
            states = _StateCache.of(model, MaskedLoader(split, rows, available, batch_size), progress)
            size = batch_size if states is None else max(batch_size, STATES_AT_ONCE)
            pairs, order = _by_dialogue(MaskedLoader(split, rows, available, size))
            if states is None:
                predictions = _predict_batches(model, pairs, samples, seed, progress)
            else:
                predictions = states.predict(pairs)
        values = np.empty_like(predictions)
        values[order] = predictions
        check_finite(values, np.asarray(available.any(axis=1)), [split.ids[i] for i in rows])
        return values

    return predict


def _predict_batches(
    model: Model, pairs: MaskedLoader, samples: int | None, seed: int, progress: Progress | None
) -> Values:
    """The spread of all pairs, in their order."""
    spreads: list[Values] = []
    done = 0
    for index in range(len(pairs)):
        if progress is not None:
            progress(done, len(pairs.rows))
        batch = _batch(pairs, pairs.batch_indices(index)).to(model.device)
        spreads.append(model.predict(batch, samples=samples, seed=seed).spread.transpose(0, 1).cpu().numpy())
        done += len(batch)
    if progress is not None:
        progress(len(pairs.rows), len(pairs.rows))
    return np.concatenate(spreads) if spreads else np.zeros((0, 1))


def _batch(pairs: MaskedLoader, indices: NDArray[np.int64]) -> Batch:
    """A batch of some pairs, which holds nothing that isn't available."""
    mask = pairs.available[indices]
    dialogue = None if pairs.dialogue is None else pairs.dialogue[indices]
    return collate(pairs.split, pairs.rows[indices], mask, visible=mask, dialogue=dialogue)


class _StateCache:
    """The states (`ClipStates.clip_states`) of every (sample, pattern) pair of some cells.

    Args:
        model: whose states they are.
        pairs: distinct, each with something available.
        states: of the pairs, ``(P, ...)`` by name.
    """

    def __init__(self, model: ClipStates, pairs: MaskedLoader, states: dict[str, Tensor]) -> None:
        self._model = model
        self._states = states
        self._device = next(iter(states.values())).device
        self._bits = 1 << np.arange(pairs.available.shape[1])
        self._number = np.full((len(pairs.split), 1 << pairs.available.shape[1]), -1, dtype=np.int64)
        self._number[pairs.rows, pairs.available @ self._bits] = np.arange(len(pairs.rows))

    @classmethod
    def of(cls, model: Model, pairs: MaskedLoader, progress: Progress | None) -> _StateCache | None:
        """Of all distinct pairs; None for a model without states, or with too many modalities for a table of patterns."""
        count = pairs.available.shape[1]
        keep = np.flatnonzero(pairs.available.any(1))
        if not isinstance(model, ClipStates) or count > MOST_MODALITIES or not len(keep):
            return None
        number = pairs.rows[keep] * (1 << count) + pairs.available[keep] @ (1 << np.arange(count))
        first = keep[np.unique(number, return_index=True)[1]]
        distinct, _ = _by_pattern(replace(pairs, rows=pairs.rows[first], available=pairs.available[first]))
        parts: list[dict[str, Tensor]] = []
        done = 0
        for index in range(len(distinct)):
            if progress is not None:
                progress(done, len(first))
            batch = _batch(distinct, distinct.batch_indices(index)).to(model.device)
            state = model.clip_states(batch)
            if state is None:
                return None
            parts.append(state)
            done += len(batch)
        if progress is not None:
            progress(len(first), len(first))
        return cls(model, distinct, {k: torch.cat([part[k] for part in parts]) for k in parts[0]})

    def predict(self, pairs: MaskedLoader) -> Values:
        """The spread of whole dialogues; a pair with nothing available has the states of any other."""
        split, spreads = pairs.split, []
        position = np.zeros(len(split), np.int64) if split.position is None else split.position
        for index in range(len(pairs)):
            indices = pairs.batch_indices(index)
            number = self._number[pairs.rows[indices], pairs.available[indices] @ self._bits].clip(min=0)
            rows = torch.from_numpy(number).to(self._device)
            mask = torch.from_numpy(pairs.available[indices])
            keys, steps = split.keys[pairs.rows[indices]], position[pairs.rows[indices]]
            assert pairs.dialogue is not None
            dialogue = torch.from_numpy(pairs.dialogue[indices])
            columns = (torch.from_numpy(keys), None, dialogue, torch.from_numpy(steps))
            batch = Batch({}, {}, mask, mask, *columns).to(self._device)
            spread = self._model.predict_states({k: v[rows] for k, v in self._states.items()}, batch).spread
            spreads.append(spread.transpose(0, 1).cpu().numpy())
        return np.concatenate(spreads)


def mean_of(spread: Values, task: Task) -> Values:
    """The prediction (M,) or (M, C) of a spread (M, S) or (M, S, C): its mean over S.

    Raises:
        ImderError: the spread has another shape.

    >>> mean_of(np.array([[1.0, 3.0], [2.0, 2.0]]), "regression").tolist()
    [2.0, 2.0]
    """
    wanted, dims = ("(M, S)", 2) if task == "regression" else ("(M, S, C)", 3)
    if spread.ndim != dims or spread.shape[1] < 1:
        raise ImderError(
            f"predictions must have shape {wanted}, one for each of S recoveries; got shape {spread.shape}"
        )
    mean: Values = spread.mean(axis=1)
    return mean


def _by_pattern(pairs: MaskedLoader) -> tuple[MaskedLoader, RowNumbers]:
    """Pairs sorted by pattern and length, with the position of each among the given pairs."""
    frames = np.zeros(len(pairs.rows), np.int64)
    for k, ragged in enumerate(pairs.split.features.values()):
        frames += ragged.lengths[pairs.rows] * pairs.available[:, k]
    order = np.lexsort((frames, *pairs.available.T))
    return replace(pairs, rows=pairs.rows[order], available=pairs.available[order]), order


def _by_dialogue(pairs: MaskedLoader) -> tuple[MaskedLoader, RowNumbers]:
    """Whole cells sorted by dialogue, with the position of each pair among the given pairs."""
    n = max(1, len(pairs.split))
    position = np.arange(len(pairs.rows))
    if len(position) % n or (pairs.rows != position % n).any():
        raise ImderError("this system reads whole dialogues and needs whole cells; use evaluate, or whole=True")
    ordered = whole_dialogues(pairs, position // n, pairs.batch_size)
    assert ordered.dialogue is not None
    return ordered, ordered.dialogue // n * n + ordered.rows


def memoized(predict: Predict) -> Predict:
    """A predictor of one split that predicts each (sample, pattern) pair once over several evaluations.

    Not for predictors that use context.
    """
    cache: dict[tuple[int, bytes], Values] = {}

    def recall(split: Split, rows: RowNumbers, available: NDArray[np.bool_]) -> Values:
        pairs = [(int(row), mask.tobytes()) for row, mask in zip(rows, available, strict=True)]
        new = np.array([i for i, pair in enumerate(pairs) if pair not in cache], dtype=np.int64)
        if len(new):
            predicted = predict(split, rows[new], available[new])
            cache.update(zip((pairs[i] for i in new), predicted, strict=True))
        return np.stack([cache[pair] for pair in pairs])

    return recall
