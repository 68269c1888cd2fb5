"""A system on every cell of a protocol: tidy rows of metrics.

What is predicted once for many cells, and how, is in `imder.evaluation.predicting`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder import metrics
from imder.calibration.calibration import Calibration, fit_calibration
from imder.data.corpus import Corpus, Split, constant_baseline
from imder.data.formats.labels import require_labels
from imder.evaluation.cells import RATES, EvaluationCell, sample_cells
from imder.evaluation.predicting import (
    Predict,
    Progress,
    Rows,
    Values,
    memoized,
    model_predict,
    predict_cells,
)
from imder.evaluation.uncertainty_metrics import names_of, uncertainty, with_uncertainty
from imder.missingness.masks import effective_rate
from imder.models.base import Model
from imder.training.masks import labelled
from imder.types import ImderError

COLUMNS = ("model", "run", "corpus", "split", "protocol", "rate", "effective_rate", "available", "draw", "seed", "n")
"""What every row holds before its metrics."""

OnCell = Callable[[EvaluationCell, Values], None]
"""Called with each cell and what was predicted for the rows that it serves, in file order."""


def evaluate(
    model: Model,
    corpus: Corpus,
    *,
    run: str = "",
    split: str = "test",
    protocol: str = "random",
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
        corpus: must fit it (`Model.prepare`); the split evaluated must be labelled.
        run: what to write in the ``run`` column.
        split: which split.
        protocol: which protocol (see `sample_cells`).
        rates: missing rates, where the protocol has them.
        draws: of the masks of each rate.
        seed: of the masks and of the noise in recoveries.
        samples: recoveries for each prediction; None for the preset's number.
        batch_size: pairs predicted at once; changes nothing but the time.
        official_batch_size: of the released code's schedule.
        convention: of `imder.metrics.CONVENTIONS`; None for the one that fits the corpus.
        progress: called with pairs predicted and pairs in all.

    Returns:
        A row for each cell, with `COLUMNS`, the convention's metrics and, where the system has a calibration, those of
        `imder.evaluation.uncertainty_metrics`; ``rate`` is None where the protocol has none, ``n`` counts the samples served,
        metrics are nan where that is 0 or where they are undefined.

    Raises:
        ImderError: the corpus doesn't fit the model, there is no such split, a label is missing, or what `sample_cells`
            refuses.
    """
    predict = model_predict(model, samples=samples, seed=seed, batch_size=batch_size, progress=progress)
    return evaluate_predictor(
        model.system,
        predict,
        model.prepare(corpus, split),
        run=run,
        split=split,
        protocol=protocol,
        rates=rates,
        draws=draws,
        seed=seed,
        official_batch_size=official_batch_size,
        convention=convention,
        whole=model.uses_context,
        calibration=model.calibration,
    )


def evaluator(
    model: Model,
    corpus: Corpus,
    *,
    run: str = "",
    split: str = "test",
    seed: int = 0,
    progress: Progress | None = None,
) -> Callable[..., list[dict[str, Any]]]:
    """`evaluate` of one system on one corpus for several protocols: what they share is predicted once.

    A system that looks at other samples (`Model.uses_context`) shares nothing: each protocol asks for its own whole cells.

    Args:
        model: the system.
        corpus: must fit it (`Model.prepare`).
        run: what to write in the ``run`` column.
        split: which split.
        seed: of the noise in recoveries; of the masks too, unless the call says another.
        progress: called with pairs predicted and pairs in all, for each protocol.

    Returns:
        To be called with ``protocol=`` and what else `evaluate_predictor` takes, but for the split.

    Raises:
        ImderError: the corpus doesn't fit the model.
    """
    predict = model_predict(model, seed=seed, progress=progress)
    return partial(
        evaluate_predictor,
        model.system,
        predict if model.uses_context else memoized(predict),
        model.prepare(corpus, split),
        run=run,
        split=split,
        seed=seed,
        whole=model.uses_context,
        calibration=model.calibration,
    )


def constant_rows(
    corpus: Corpus,
    *,
    baseline: float | Sequence[float] | None = None,
    run: str = "",
    split: str = "test",
    protocol: str = "random",
    rates: Sequence[float] = RATES,
    draws: int = 10,
    seed: int = 0,
    official_batch_size: int = 32,
    convention: str | None = None,
    calibrated: bool = False,
) -> list[dict[str, Any]]:
    """The constant baseline of every table, ``constant``, on the same masks: see `constant_baseline`.

    Arguments are those of `evaluate`. ``corpus`` is taken as a model reads it (`check_compatible`), so that modalities and
    classes are numbered alike. ``baseline`` is what was stored of the training corpus; None for that of this corpus'
    training split. ``calibrated`` adds how sure it is, by the labels of split ``valid``, if there are any.

    Returns:
        Rows as `evaluate` gives; none where there is neither ``baseline`` nor a training split with labels.
    """
    if baseline is None and "train" in corpus.splits:
        baseline = constant_baseline(corpus["train"], corpus.spec)
    if baseline is None:
        return []
    value = np.asarray(baseline, dtype=np.float64)

    def predict(_: Split, rows: Rows, available: NDArray[np.bool_]) -> Values:
        del available
        return np.broadcast_to(value, (len(rows), 1, *value.shape))

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
        calibration=_calibration_of(value, corpus) if calibrated else None,
    )


def _calibration_of(value: NDArray[np.float64], corpus: Corpus) -> Calibration | None:
    """How sure the constant is, by the validation labels; None where there are none."""
    valid = corpus.splits.get("valid")
    rows = np.flatnonzero(labelled(valid)) if valid is not None else np.zeros(0, np.int64)
    if valid is None or valid.labels is None or not len(rows):
        return None
    labels = valid.labels[rows]
    bounds = None if corpus.spec.task == "classification" else (float(labels.min()), float(labels.max()))
    spread = np.broadcast_to(value, (len(rows), 1, *value.shape))
    # It sees nothing, so what is available doesn't matter: all rows together, whatever is asked for.
    nothing = np.zeros((len(rows), len(corpus.spec.names)), dtype=bool)
    return fit_calibration(corpus.spec, spread, nothing, labels, rows, bounds)


def evaluate_predictor(
    name: str,
    predict: Predict,
    corpus: Corpus,
    *,
    run: str = "",
    split: str = "test",
    protocol: str = "random",
    rates: Sequence[float] = RATES,
    draws: int = 10,
    seed: int = 0,
    official_batch_size: int = 32,
    convention: str | None = None,
    whole: bool = False,
    calibration: Calibration | None = None,
    on_cell: OnCell | None = None,
) -> list[dict[str, Any]]:
    """`evaluate` for anything that predicts, a trained model or not; ``name`` goes into the ``model`` column.

    ``whole`` is for what looks at other samples too: see `predict_cells`. ``calibration`` says how sure what predicts is.
    ``keep`` is handed the predictions themselves.
    """
    samples = corpus[split]
    labels = require_labels(samples, f"{corpus.name} [{split}]")
    convention = convention_of(corpus, convention)
    cells = sample_cells(
        samples.present,
        corpus.spec.names,
        protocol=protocol,
        rates=rates,
        draws=draws,
        seed=seed,
        official_batch_size=official_batch_size,
    )
    task = corpus.spec.task
    known = with_uncertainty(predict, task, labels, calibration)
    names = (*metrics.names_of(convention), *(names_of(task) if calibration is not None else ()))
    rows: list[dict[str, Any]] = []
    for cell, found in zip(cells, predict_cells(known, samples, cells, whole=whole), strict=True):
        if on_cell is not None:
            on_cell(cell, found["prediction"])
        served = cell.mask.any(axis=1)
        about = (name, run, corpus.name, split, cell.protocol, cell.rate, effective_rate(cell.mask), cell.available)
        row: dict[str, Any] = dict(zip(COLUMNS, (*about, cell.draw, seed, int(served.sum())), strict=True))
        if served.any():
            row |= metrics.evaluate(convention, found["prediction"], labels[served])
            row |= uncertainty(found, labels[served], task)
        else:
            row |= dict.fromkeys(names, float("nan"))
        rows.append(row)
    return rows


def convention_of(corpus: Corpus, asked: str | None = None) -> str:
    """The metrics that fit a corpus: by its training labels, or by all where there is no training split.

    Args:
        corpus: any.
        asked: the name that was asked for, which must fit the task.

    Raises:
        ImderError: it doesn't, or there is no such convention.
    """
    if asked is not None:
        metrics.metrics_of(asked)
        if (asked == "classification") != (corpus.spec.task == "classification"):
            raise ImderError(f"{corpus.name}: {asked} metrics don't fit a corpus for {corpus.spec.task}")
        return asked
    splits = [corpus["train"]] if "train" in corpus.splits else list(corpus.splits.values())
    known = [s.labels for s in splits if s.labels is not None]
    return metrics.default_convention(corpus.spec.task, np.concatenate(known) if known else np.zeros(0))
