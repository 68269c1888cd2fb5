"""A system on every cell of a protocol: tidy rows of metrics.

`imder.evaluation.predicting` makes the predictions, each once for all cells that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from imder import metrics
from imder.calibration.calibration import Calibration
from imder.data.corpus import Corpus
from imder.data.formats.labels import require_labels
from imder.evaluation.cells import EvaluationCell, default_rates
from imder.evaluation.predicting import (
    Predict,
    Progress,
    Values,
    memoized,
    model_predict,
    predict_cells,
)
from imder.evaluation.protocol import EvaluationProtocol, check_missing
from imder.evaluation.uncertainty_metrics import names_of, uncertainty, with_uncertainty
from imder.missingness.masks import Mask, effective_rate
from imder.missingness.patterns import pattern_name
from imder.missingness.protocols import Missing
from imder.models.base import Model
from imder.rows import Rows
from imder.training.trained import TrainedModel
from imder.types import ImderError

COLUMNS = ("model", "run", "corpus", "split", "protocol", "rate", "effective_rate", "available", "draw", "seed", "n")
"""What every row holds before its metrics."""

OnCell = Callable[[EvaluationCell, Values], None]
"""Called with each cell and the predictions for the rows that it serves, in file order."""


class Evaluator(Protocol):
    """Evaluates one system under a protocol."""

    def __call__(self, protocol: EvaluationProtocol, on_cell: OnCell | None = None) -> Rows:
        """Rows of all cells of a protocol; ``on_cell`` is called with the predictions of each."""
        ...


def evaluate(
    model: Model | str | Path,
    corpus: Corpus | str | Path,
    protocol: str | Missing = "random",
    *,
    rates: Sequence[float] | None = None,
    draws: int = 10,
    seed: int = 0,
    split: str | None = None,
    samples: int | None = None,
    batch_size: int = 64,
    official_batch_size: int = 32,
    metrics: str | None = None,
    run: str | None = None,
    drop_empty: bool = False,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Rows:
    """Evaluate a trained system under a missing-modality protocol.

    Args:
        model: a `Model`, the folder of a run, or a hub id.
        corpus: a `Corpus` or its path; it must fit the model, and the evaluated split must be labelled.
        protocol: a name of `imder.missingness.protocols.PROTOCOLS`, such as ``random``, ``fixed`` or ``frames``; or an object
            such as ``RandomMissing(0.3)`` for that setting alone.
        rates: missing rates, for a protocol that has them; None for 0 to 0.7, or 0 to 1 where frames are erased.
        draws: of the masks of each rate.
        seed: of the masks and of the noise in recoveries.
        split: which split; None for ``test``, or for the only one.
        samples: recoveries for each prediction; None for the preset's number.
        batch_size: samples predicted at once; changes nothing but the time.
        official_batch_size: rows in a batch of the official schedule.
        metrics: a convention of `imder.metrics.CONVENTIONS`; None for the one that fits the corpus.
        run: for the ``run`` column; by default the path of the run.
        drop_empty: leave out samples without any modality instead of raising, when reading a path.
        device: where to compute; None leaves a `Model` where it is.
        progress: called with the numbers of predictions made and to make.

    Returns:
        A row for each setting of the protocol and draw of its masks, with `COLUMNS`, the convention's metrics, those of
        `imder.evaluation.uncertainty_metrics` where the system is calibrated, and ``recovery_weight`` where it recovers: the
        mean weight of the recovery branch over the served samples. ``rate`` is None where the protocol has none; ``n``
        counts the served samples; metrics are nan where they are undefined.

    Raises:
        ImderError: a setting out of range; the model or corpus cannot be read, or they don't fit; there is no such split, or
            a label is missing; or the protocol is undefined on the split.
    """
    missing = None if isinstance(protocol, str) else protocol
    name = protocol if isinstance(protocol, str) else check_missing(protocol)
    if missing is not None and rates is not None:
        raise ImderError(f"rates: {missing!r} is one setting; leave rates out, or give the protocol by name, {name!r}")
    settings = EvaluationProtocol(
        name,
        default_rates([name]) if rates is None else rates,
        draws,
        seed,
        "test" if split is None else split,
        samples,
        batch_size,
        official_batch_size,
        metrics,
        missing,
    )
    trained = TrainedModel.load(model, device)
    data = trained.read(corpus, drop_empty=drop_empty)
    settings = replace(settings, split=data.default_split if split is None else split)
    run = run if run is not None else "" if isinstance(model, Model) else str(model)
    return evaluate_model(trained.model, data, settings, run=run, progress=progress)


def evaluate_model(
    model: Model,
    corpus: Corpus,
    protocol: EvaluationProtocol,
    *,
    run: str = "",
    progress: Progress | None = None,
    on_cell: OnCell | None = None,
) -> Rows:
    """`evaluate` of a model in memory, with its settings in one object; ``on_cell`` is called with all predictions."""
    predict = model_predict(
        model, samples=protocol.samples, seed=protocol.seed, batch_size=protocol.batch_size, progress=progress
    )
    return _evaluate(model, predict, model.prepare(corpus, protocol.split), protocol, run, on_cell)


def evaluator(
    model: Model,
    corpus: Corpus,
    *,
    run: str = "",
    split: str = "test",
    seed: int = 0,
    samples: int | None = None,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Evaluator:
    """Evaluates one system on one corpus under several protocols, which share their predictions.

    A system that looks at other samples (`Model.needs_dialogues`) shares nothing: it predicts the whole cells of each protocol.

    Args:
        model: the system.
        corpus: must fit it (`Model.prepare`).
        run: for the ``run`` column.
        split: which split; protocols name the same.
        seed: of the noise in recoveries; a protocol's seed is that of its masks.
        samples: recoveries for each prediction; protocols name the same number.
        batch_size: samples predicted at once; it wins over the protocols'.
        progress: called with the numbers of predictions made and to make, for each protocol.

    Returns:
        A function of a protocol (and ``on_cell``) that returns rows.

    Raises:
        ImderError: the corpus doesn't fit the model.
    """
    predict = model_predict(model, samples=samples, seed=seed, batch_size=batch_size, progress=progress)
    prepared = model.prepare(corpus, split)
    predict = predict if model.needs_dialogues(prepared[split]) else memoized(predict)

    def evaluate_protocol(protocol: EvaluationProtocol, on_cell: OnCell | None = None) -> Rows:
        if (protocol.split, protocol.samples) != (split, samples):
            raise ImderError(
                f"the evaluator predicts split {split!r} with samples={samples}; the protocol asks for split "
                f"{protocol.split!r} with samples={protocol.samples}"
            )
        return _evaluate(model, predict, prepared, protocol, run, on_cell)

    return evaluate_protocol


def _evaluate(
    model: Model,
    predict: Predict,
    corpus: Corpus,
    protocol: EvaluationProtocol,
    run: str,
    on_cell: OnCell | None = None,
) -> Rows:
    return evaluate_predictor(
        model.system,
        predict,
        corpus,
        protocol,
        run=run,
        whole=model.needs_dialogues(corpus[protocol.split]),
        calibration=model.calibration,
        recovery_weights=model.recovery_weights(),
        on_cell=on_cell,
    )


def evaluate_predictor(
    name: str,
    predict: Predict,
    corpus: Corpus,
    protocol: EvaluationProtocol | None = None,
    *,
    run: str = "",
    whole: bool = False,
    calibration: Calibration | None = None,
    recovery_weights: Mapping[str, float] | None = None,
    on_cell: OnCell | None = None,
) -> Rows:
    """`evaluate` for any function that predicts.

    Args:
        name: for the ``model`` column.
        predict: returns the spread of predictions (`imder.evaluation.predicting.Predict`).
        corpus: as ``predict`` reads it.
        protocol: what the evaluation covers; its ``samples`` and ``batch_size`` are the predictor's matter.
        run: for the ``run`` column.
        whole: whether ``predict`` looks at other samples too and needs whole cells (`predict_cells`).
        calibration: of what predicts.
        recovery_weights: for each pattern of availability the weight of the recovery branch; empty or None for a system
            that recovers nothing.
        on_cell: called with the predictions of each cell.

    Raises:
        ImderError: as `evaluate`.
    """
    protocol = protocol or EvaluationProtocol()
    samples = corpus[protocol.split]
    if not len(samples):
        raise ImderError(f"{corpus.name}: split {protocol.split!r} has no samples to evaluate")
    labels = require_labels(samples, f"{corpus.name} [{protocol.split}]")
    convention = convention_of(corpus, protocol.convention)
    cells = protocol.cells(samples.present, corpus.spec.names, samples)
    task = corpus.spec.task
    predict_records = with_uncertainty(predict, task, labels, calibration)
    names = (*metrics.names_of(convention), *(names_of(task) if calibration is not None else ()))
    rows = Rows()
    for cell, records in zip(cells, predict_cells(predict_records, samples, cells, whole=whole), strict=True):
        if on_cell is not None:
            on_cell(cell, records["prediction"])
        served = cell.mask.any(axis=1)
        about = (name, run, corpus.name, protocol.split, cell.protocol, cell.rate, effective_rate(cell.mask))
        counts = (cell.available, cell.draw, protocol.seed, int(served.sum()))
        row: dict[str, Any] = dict(zip(COLUMNS, (*about, *counts), strict=True))
        if served.any():
            row |= metrics.evaluate(convention, records["prediction"], labels[served])
            row |= uncertainty(records, labels[served], task)
        else:
            row |= dict.fromkeys(names, float("nan"))
        if recovery_weights:
            row["recovery_weight"] = _mean_weight(cell.mask[served], corpus.spec.names, recovery_weights)
        rows.append(row)
    return rows


def _mean_weight(masks: Mask, names: Sequence[str], weights: Mapping[str, float]) -> float:
    """The mean weight of the recovery branch over rows of masks."""
    if not len(masks):
        return float("nan")
    patterns, counts = np.unique(masks, axis=0, return_counts=True)
    return float(np.average([weights.get(pattern_name(p, names), 0.0) for p in patterns], weights=counts))


def convention_of(corpus: Corpus, convention: str | None = None) -> str:
    """The metrics that fit a corpus: by its training labels, or by all where there is no training split.

    Args:
        corpus: any.
        convention: a convention by name, which must fit the task; None to choose.

    Raises:
        ImderError: it doesn't fit, or there is no such convention.
    """
    if convention is not None:
        metrics.metrics_of(convention)
        if (convention == "classification") != (corpus.spec.task == "classification"):
            raise ImderError(f"{corpus.name}: {convention} metrics don't fit a corpus for {corpus.spec.task}")
        return convention
    splits = [corpus["train"]] if "train" in corpus.splits else list(corpus.splits.values())
    labels: list[NDArray[Any]] = [split.labels for split in splits if split.labels is not None]
    return metrics.default_convention(corpus.spec.task, np.concatenate(labels) if labels else np.zeros(0))
