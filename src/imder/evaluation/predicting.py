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

Under a protocol that erases frames, a pair is (sample, pattern, rate, seed of the draw), so that every cell is predicted on
its own, except at rate 0. Batches hold the remaining frames alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imder.data.corpus import Split
from imder.data.dialogues import whole_dialogues
from imder.data.erasure import Erasure
from imder.data.loader import MaskedLoader
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
Progress = Callable[[int, int], None]
"""Called with the number of predicted rows and the number of all rows."""


class Predict(Protocol):
    """Predicts rows of a split."""

    def __call__(
        self, split: Split, rows: RowNumbers, available: NDArray[np.bool_], /, *, erasure: Erasure | None = None
    ) -> Values:
        """The spread of M rows: (M, S) values, or (M, S, C) probabilities.

        S, the number of recoveries times that of members, is the same for all rows.

        Args:
            split: the samples.
            rows: M row numbers.
            available: ``(M, K)``.
            erasure: the erased frames of the M rows, under a protocol that erases any.
        """
        ...


def predict_cells(
    predict: Predict, split: Split, cells: Sequence[EvaluationCell], *, whole: bool = False
) -> list[Values]:
    """The spread of each cell's served rows, in file order; every (sample, pattern) pair is predicted once.

    With ``whole``, ``predict`` gets whole cells one after the other, each with all rows of the split in order; rows that a
    cell doesn't serve have nothing available. Every distinct cell is predicted once.
    """
    served = [np.flatnonzero(cell.mask.any(axis=1)) for cell in cells]
    split = replace(split, labels=None)
    if whole:
        return _predict_whole(predict, split, cells, served)
    rows = np.concatenate(served)
    masks = np.concatenate([cell.mask[s] for cell, s in zip(cells, served, strict=True)])
    parts = [None if c.erasure is None else c.erasure.take(s) for c, s in zip(cells, served, strict=True)]
    erasure = Erasure.joined(parts, [len(s) for s in served], masks.shape[1])
    _, pattern = np.unique(masks @ (1 << np.arange(masks.shape[1])), return_inverse=True)
    pairs = rows * (pattern.max(initial=0) + 1) + pattern
    if erasure is not None:
        draw = erasure.draws()
        pairs = pairs * (draw.max(initial=0) + 1) + draw
    _, first, position = np.unique(pairs, return_index=True, return_inverse=True)
    predicted = call_predict(
        predict, split, rows[first], masks[first], None if erasure is None else erasure.take(first)
    )
    return np.split(predicted[position], np.cumsum([len(s) for s in served])[:-1])


def _predict_whole(
    predict: Predict, split: Split, cells: Sequence[EvaluationCell], served: Sequence[RowNumbers]
) -> list[Values]:
    """Each distinct cell once: all together, or one by one where frames are erased, since they then share no states."""
    each: dict[bytes, Values] = {}
    distinct = {cell.mask.tobytes(): cell.mask for cell in cells if cell.erasure is None}
    rows = np.arange(len(split))
    if distinct:
        spreads = predict(split, np.tile(rows, len(distinct)), np.concatenate(list(distinct.values())))
        each = dict(zip(distinct, np.split(spreads, len(distinct)), strict=True))
    names = [cell.mask.tobytes() + b"".join([] if cell.erasure is None else cell.erasure.names()) for cell in cells]
    for cell, name in zip(cells, names, strict=True):
        if name not in each:
            each[name] = call_predict(predict, split, rows, cell.mask, cell.erasure)
    return [each[name][s] for name, s in zip(names, served, strict=True)]


def call_predict(
    predict: Predict, split: Split, rows: RowNumbers, available: NDArray[np.bool_], erasure: Erasure | None
) -> Values:
    """Predict; a predictor of whole modalities need not take an erasure."""
    return predict(split, rows, available) if erasure is None else predict(split, rows, available, erasure=erasure)


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

    def predict(
        split: Split, rows: RowNumbers, available: NDArray[np.bool_], *, erasure: Erasure | None = None
    ) -> Values:
        given = MaskedLoader(split, rows, available, batch_size, erasure=erasure)
        if not model.needs_dialogues(split):
            pairs, order = _by_pattern(given)
            predictions = _predict_batches(model, pairs, samples, seed, progress)
        else:
            states = _StateCache.of(model, given, progress)
            size = batch_size if states is None else max(batch_size, STATES_AT_ONCE)
            pairs, order = _by_dialogue(replace(given, batch_size=size))
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
        batch = pairs.available_batch(index).to(model.device)
        spreads.append(model.predict(batch, samples=samples, seed=seed).spread.transpose(0, 1).cpu().numpy())
        done += len(batch)
    if progress is not None:
        progress(len(pairs.rows), len(pairs.rows))
    return np.concatenate(spreads) if spreads else np.zeros((0, 1))


class _StateCache:
    """The states (`ClipStates.clip_states`) of every (sample, pattern) pair of some cells.

    Args:
        model: whose states they are.
        pairs: distinct, each with something available; under one erasure where frames are erased.
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
        distinct, _ = _by_pattern(pairs.take(first))
        parts: list[dict[str, Tensor]] = []
        done = 0
        for index in range(len(distinct)):
            if progress is not None:
                progress(done, len(first))
            batch = distinct.available_batch(index).to(model.device)
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
    return pairs.take(order), order


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
    """A predictor of one split that predicts each (sample, pattern) pair, and each draw of frames, once over evaluations.

    Not for predictors that use context.
    """
    cache: dict[tuple[int, bytes, bytes], Values] = {}

    def recall(
        split: Split, rows: RowNumbers, available: NDArray[np.bool_], *, erasure: Erasure | None = None
    ) -> Values:
        drawn = [b""] * len(rows) if erasure is None else erasure.names()
        pairs = [(int(row), mask.tobytes(), draw) for row, mask, draw in zip(rows, available, drawn, strict=True)]
        new = np.array([i for i, pair in enumerate(pairs) if pair not in cache], dtype=np.int64)
        if len(new):
            predicted = call_predict(
                predict, split, rows[new], available[new], None if erasure is None else erasure.take(new)
            )
            cache.update(zip((pairs[i] for i in new), predicted, strict=True))
        return np.stack([cache[pair] for pair in pairs])

    return recall
