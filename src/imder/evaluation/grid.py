"""A system on every cell of a protocol: tidy rows of metrics.

What a system predicts for a sample depends on the sample, on which of its modalities are available and on the seed of the
noise, never on the batch. So all cells together ask for at most N (2^K - 1) different (sample, pattern) pairs, however
many rates and draws there are: each pair is predicted once and then looked up. Eight rates with ten draws of a
three-modality split cost at most seven passes over it instead of eighty. Recoveries are thus the same in every draw,
which varies the masks alone.

Pairs are predicted in the order of their patterns, within a pattern by length: batches are then uniform, with little
padding. A system is handed neither labels nor features of anything that isn't available.

A system whose prediction for a sample depends on other samples of the split (`Model.context`) is handed whole cells
instead: all samples under a cell's masks, in batches of whole dialogues. Equal cells are still predicted once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder import metrics
from imder.data.compatible import check_compatible
from imder.data.corpus import Corpus, Split, floor_of
from imder.data.dialogues import whole_dialogues
from imder.data.formats_labels import require_labels
from imder.data.loader import Pass, collate
from imder.data.missing import effective_rate
from imder.evaluation.masks import RATES, Cell, ProtocolName, draw_cells
from imder.models.base import Model
from imder.types import ImderError

Rows = NDArray[np.int64]
Values = NDArray[np.floating[Any]]
Predict = Callable[[Split, Rows, NDArray[np.bool_]], Values]
"""From a split, M row numbers and their ``available`` (M, K) to predictions (M,) or probabilities (M, C)."""
Progress = Callable[[int, int], None]
"""Called with what is done and what there is to do."""

COLUMNS = ("model", "run", "corpus", "split", "protocol", "rate", "effective_rate", "available", "draw", "seed", "n")
"""What every row holds before its metrics."""


def evaluate(
    model: Model,
    corpus: Corpus,
    *,
    run: str = "",
    split: str = "test",
    protocol: ProtocolName = "random",
    rates: Sequence[float] = RATES,
    draws: int = 10,
    seed: int = 0,
    samples: int | None = None,
    batch_size: int = 64,
    official_batch_size: int = 32,
    convention: str | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Evaluate a trained system.

    Args:
        model: the system.
        corpus: must fit it (`check_compatible`); the split evaluated must be labelled.
        run: what to write in the ``run`` column.
        split: which split.
        protocol: which protocol (see `draw_cells`).
        rates: missing rates, where the protocol has them.
        draws: of the masks of each rate.
        seed: of the masks and of the noise in recoveries.
        samples: recoveries for each prediction; None for the preset's number.
        batch_size: pairs predicted at once; changes nothing but the time.
        official_batch_size: of the released code's schedule.
        convention: of `imder.metrics.CONVENTIONS`; None for the one that fits the corpus.
        progress: called with pairs predicted and pairs in all.

    Returns:
        A row for each cell, with `COLUMNS` and the convention's metrics; ``rate`` is None where the protocol has none,
        ``n`` counts the samples served, metrics are nan where that is 0 or where they are undefined.

    Raises:
        ImderError: the corpus doesn't fit the model, there is no such split, a label is missing, or what `draw_cells`
            refuses.
    """
    predict = model_predict(model, samples=samples, seed=seed, batch_size=batch_size, progress=progress)
    return evaluate_predictor(
        model.system,
        predict,
        check_compatible(model.spec, corpus),
        run=run,
        split=split,
        protocol=protocol,
        rates=rates,
        draws=draws,
        seed=seed,
        official_batch_size=official_batch_size,
        convention=convention,
        whole=model.context,
    )


def constant_rows(
    corpus: Corpus,
    *,
    floor: float | Sequence[float] | None = None,
    run: str = "",
    split: str = "test",
    protocol: ProtocolName = "random",
    rates: Sequence[float] = RATES,
    draws: int = 10,
    seed: int = 0,
    official_batch_size: int = 32,
    convention: str | None = None,
) -> list[dict[str, Any]]:
    """The floor of every table, ``constant``, on the same masks: see `floor_of`.

    Arguments are those of `evaluate`. ``corpus`` is taken as a model reads it (`check_compatible`), so that modalities and
    classes are numbered alike. ``floor`` is what was stored of the training corpus; None for that of this corpus'
    training split.

    Returns:
        Rows as `evaluate` gives; none where there is neither ``floor`` nor a training split with labels.
    """
    if floor is None and "train" in corpus.splits:
        floor = floor_of(corpus["train"], corpus.spec)
    if floor is None:
        return []
    value = np.asarray(floor, dtype=np.float64)

    def predict(_: Split, rows: Rows, available: NDArray[np.bool_]) -> Values:
        del available
        return np.broadcast_to(value, (len(rows), *value.shape))

    return evaluate_predictor(
        "constant",
        predict,
        corpus,
        run=run,
        split=split,
        protocol=protocol,
        rates=rates,
        draws=draws,
        seed=seed,
        official_batch_size=official_batch_size,
        convention=convention,
    )


def evaluate_predictor(
    name: str,
    predict: Predict,
    corpus: Corpus,
    *,
    run: str = "",
    split: str = "test",
    protocol: ProtocolName = "random",
    rates: Sequence[float] = RATES,
    draws: int = 10,
    seed: int = 0,
    official_batch_size: int = 32,
    convention: str | None = None,
    whole: bool = False,
) -> list[dict[str, Any]]:
    """`evaluate` for anything that predicts, a trained model or not; ``name`` goes into the ``model`` column.

    ``whole`` is for what looks at other samples too: see `predict_cells`.
    """
    samples = corpus[split]
    labels = require_labels(samples, f"{corpus.name} [{split}]")
    convention = convention or convention_of(corpus)
    if convention not in metrics.CONVENTIONS:
        raise ImderError(f"unknown metric convention {convention!r}; use one of {', '.join(metrics.CONVENTIONS)}")
    cells = draw_cells(
        samples.present,
        corpus.spec.names,
        protocol=protocol,
        rates=rates,
        draws=draws,
        seed=seed,
        official_batch_size=official_batch_size,
    )
    rows: list[dict[str, Any]] = []
    for cell, found in zip(cells, predict_cells(predict, samples, cells, whole=whole), strict=True):
        served = cell.mask.any(axis=1)
        about = (name, run, corpus.name, split, cell.protocol, cell.rate, effective_rate(cell.mask), cell.available)
        row: dict[str, Any] = dict(zip(COLUMNS, (*about, cell.draw, seed, int(served.sum())), strict=True))
        if served.any():
            row |= metrics.evaluate(convention, found, labels[served])
        else:
            row |= dict.fromkeys(metrics.CONVENTIONS[convention], float("nan"))
        rows.append(row)
    return rows


def convention_of(corpus: Corpus) -> str:
    """The metrics that fit a corpus: by its training labels, or by all where there is no training split."""
    splits = [corpus["train"]] if "train" in corpus.splits else list(corpus.splits.values())
    known = [s.labels for s in splits if s.labels is not None]
    return metrics.default_convention(corpus.spec.task, np.concatenate(known) if known else np.zeros(0))


def predict_cells(predict: Predict, split: Split, cells: Sequence[Cell], *, whole: bool = False) -> list[Values]:
    """For each cell the predictions for its served rows, in file order; every (sample, pattern) pair predicted once.

    With ``whole``, ``predict`` is asked for whole cells one after the other, each of them all rows of the split in order;
    rows that a cell doesn't serve have nothing available. Every distinct cell is predicted once.
    """
    served = [np.flatnonzero(cell.mask.any(axis=1)) for cell in cells]
    if whole:
        distinct = {cell.mask.tobytes(): cell.mask for cell in cells}
        all_rows = np.tile(np.arange(len(split)), len(distinct))
        asked = predict(replace(split, labels=None), all_rows, np.concatenate(list(distinct.values())))
        each = dict(zip(distinct, np.split(asked, len(distinct)), strict=True))
        return [each[cell.mask.tobytes()][s] for cell, s in zip(cells, served, strict=True)]
    rows = np.concatenate(served)
    masks = np.concatenate([cell.mask[s] for cell, s in zip(cells, served, strict=True)])
    _, pattern = np.unique(masks @ (1 << np.arange(masks.shape[1])), return_inverse=True)
    pairs = rows * (pattern.max(initial=0) + 1) + pattern
    _, first, place = np.unique(pairs, return_index=True, return_inverse=True)
    found = predict(replace(split, labels=None), rows[first], masks[first])
    return np.split(found[place], np.cumsum([len(s) for s in served])[:-1])


def model_predict(
    model: Model,
    *,
    samples: int | None = None,
    seed: int = 0,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Predict:
    """A model as what `predict_cells` calls; one with context refuses anything but whole cells (`ImderError`)."""
    in_order = _by_dialogue if model.context else _by_pattern

    def predict(split: Split, rows: Rows, available: NDArray[np.bool_]) -> Values:
        pairs, order = in_order(Pass(split, rows, available, batch_size))
        found: list[Values] = []
        done = 0
        for index in range(len(pairs)):
            if progress is not None:
                progress(done, len(order))
            part = pairs.part(index)
            mask = pairs.available[part]
            dialogue = None if pairs.dialogue is None else pairs.dialogue[part]
            batch = collate(split, pairs.rows[part], mask, seen=mask, dialogue=dialogue).to(model.device)
            found.append(model.predict(batch, samples=samples, seed=seed).prediction.cpu().numpy())
            done += len(part)
        if progress is not None:
            progress(len(order), len(order))
        sorted_values = np.concatenate(found) if found else np.zeros(0)
        values = np.empty_like(sorted_values)
        values[order] = sorted_values
        return values

    return predict


def _by_pattern(pairs: Pass) -> tuple[Pass, Rows]:
    """Pairs in the order of their patterns, then of their lengths, and which of the given ones each of them is."""
    frames = np.zeros(len(pairs.rows), np.int64)
    for k, ragged in enumerate(pairs.split.features.values()):
        frames += ragged.lengths[pairs.rows] * pairs.available[:, k]
    order = np.lexsort((frames, *pairs.available.T))
    return replace(pairs, rows=pairs.rows[order], available=pairs.available[order]), order


def _by_dialogue(pairs: Pass) -> tuple[Pass, Rows]:
    """Whole cells, dialogue by dialogue, and which of the given pairs each of them is."""
    n = max(1, len(pairs.split))
    place = np.arange(len(pairs.rows))
    if len(place) % n or (pairs.rows != place % n).any():
        raise ImderError("this system reads whole dialogues: ask for whole cells (evaluate, or whole=True)")
    together = whole_dialogues(pairs, place // n, pairs.batch_size)
    assert together.dialogue is not None
    return together, together.dialogue // n * n + together.rows


def remembering(predict: Predict) -> Predict:
    """The same predictor of one split, asked for each (sample, pattern) pair once over several evaluations.

    Not for what looks at other samples too.
    """
    known: dict[tuple[int, bytes], Values] = {}

    def recall(split: Split, rows: Rows, available: NDArray[np.bool_]) -> Values:
        pairs = [(int(row), mask.tobytes()) for row, mask in zip(rows, available, strict=True)]
        new = np.array([i for i, pair in enumerate(pairs) if pair not in known], dtype=np.int64)
        if len(new):
            found = predict(split, rows[new], available[new])
            known.update(zip((pairs[i] for i in new), found, strict=True))
        return np.stack([known[pair] for pair in pairs])

    return recall
