"""Predictions of a trained system.

The spread of a prediction is over recoveries (how much it depends on what the missing modalities may have been) and over
members (how much trained networks differ). It is zero for a system of one member where nothing is recovered, and it leaves
out the noise of the labels. Intervals and prediction sets (`imder.calibration`) include that noise, for every model that was
saved with a calibration.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imder.calibration.calibration import Calibration
from imder.calibration.describe import LEVEL, check_recoveries, describe_classes, describe_values
from imder.data.corpus import Corpus, Split
from imder.data.erasure import Erasure
from imder.inference.options import PredictOptions
from imder.inference.selection import Available, Progress, Selection, batches, select
from imder.inference.unusual import warnings
from imder.missingness.masks import Mask
from imder.models.base import Model
from imder.models.finite import check_finite
from imder.rows import Rows
from imder.training.trained import TrainedModel
from imder.types import Output, Spec

log = logging.getLogger(__name__)

Row = dict[str, Any]


def predict(
    model: Model | str | Path,
    corpus: Corpus | Split | str | Path,
    split: str | None = None,
    *,
    available: Available | None = None,
    samples: int | None = None,
    seed: int = 0,
    batch_size: int = 64,
    level: float = LEVEL,
    drop_empty: bool = False,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Rows:
    """Predictions for every sample of a split, in order.

    Args:
        model: a trained system, the folder of a run, or a hub id.
        corpus: a corpus, a split of samples, or the path of a corpus.
        split: which split of a corpus; None for ``test``, or for the only one.
        available: what the system may use: a bool mask ``(N, K)``, a protocol (`RandomMissing`, ...), or names
            (``"language+audio"`` or a sequence); None for everything present. A mask is cut down to what is present.
        samples: recoveries averaged in each prediction; None for the preset's number.
        seed: of the noise in recoveries, and of a protocol's mask, which is that of draw 0 of `evaluate`.
        batch_size: samples predicted at once; affects time and memory alone.
        level: share of labels that intervals and prediction sets should cover.
        drop_empty: leave out samples without any modality instead of raising, when reading a path.
        device: where to compute; None leaves a `Model` where it is and takes the GPU, if any, for a run.
        progress: called with samples predicted and samples in all.

    Returns:
        For each sample ``id``; ``available`` and ``missing``: names joined by ``+``; for systems that recover,
        ``recovered``: the missing modalities whose recovery entered the prediction, and ``recovery_weight``: the weight of
        the recovery branch, in [0, 1]; ``true_label`` and ``text`` where the corpus has them; then

        * regression: ``prediction``; ``std``, ``q05``, ``q95``: standard deviation (of a sample, n - 1; 0 for one
            member without recoveries) and quantiles over recoveries and members;
        * classification: ``label``; ``p_<class>`` for each class, averaged over recoveries and members; ``entropy`` of
            these, in nats;
        * with a calibration: ``low`` and ``high``, the ends of the interval, or ``set``, the classes of the prediction
            set joined by ``|``.

        A sample with nothing available has an empty ``available``, and None in the columns of a prediction.

    Raises:
        ImderError: the model or the corpus can't be read, they don't fit each other, a sample has no modality, there is no
            such split, a prediction isn't finite, or a setting is of the wrong type, shape or range.
    """
    options = PredictOptions(samples, seed, batch_size, level)
    trained = TrainedModel.load(model, device)
    data = corpus if isinstance(corpus, Split) else trained.read(corpus, drop_empty=drop_empty)
    return predict_data(trained.model, data, split, options, available=available, progress=progress)


def predict_data(
    model: Model,
    data: Corpus | Split,
    split: str | None,
    options: PredictOptions,
    *,
    available: Available | None = None,
    progress: Progress | None = None,
) -> Rows:
    """`predict` for a model and data that are loaded; features unlike those of training lead to a warning."""
    selection = select(model, data, split, available, options.seed)
    for warning in warnings(model, selection.split, selection.mask):
        log.warning("%s", warning)
    rows, recoveries = predict_split(
        model,
        selection.split,
        options,
        mask=selection.mask,
        erasure=selection.erasure,
        corpus_columns=corpus_columns(selection),
        progress=progress,
    )
    if rows and model.calibration is not None:
        check_recoveries(model.calibration, recoveries)
    return rows


def predict_split(
    model: Model,
    split: Split,
    options: PredictOptions,
    *,
    mask: Mask | None = None,
    erasure: Erasure | None = None,
    corpus_columns: Sequence[Row] | None = None,
    progress: Progress | None = None,
) -> tuple[Rows, int]:
    """`predict` for a split that is prepared already, and the number of recoveries in each prediction.

    Args:
        model: a trained system.
        split: as `Model.prepare` gives it.
        options: how to predict.
        mask: ``(N, K)`` bool, a subset of what is present; None for everything present.
        erasure: the erased frames of the N samples; None for none.
        corpus_columns: for each sample the columns from the corpus, put before the prediction.
        progress: called with samples predicted and samples in all.

    Call `imder.calibration.describe.check_recoveries` once when all parts of a corpus are predicted.
    """
    mask = split.present if mask is None else mask
    names = model.spec.names
    predictions: dict[int, Row] = {}
    recoveries = 0
    for rows, batch in batches(model, split, mask, options.batch_size, progress, erasure=erasure):
        output = model.predict(batch, samples=options.samples, seed=options.seed)
        recoveries = len(output.spread)
        served = batch.available.any(1).cpu().numpy()  # whole dialogues include rows without any available modality
        check_finite(output.spread.swapaxes(0, 1).cpu().numpy(), served, [split.ids[i] for i in rows])
        for row, columns in zip(rows[served], _columns(model, output, mask[rows], served, options.level), strict=True):
            predictions[int(row)] = columns
    table = Rows()
    no_prediction: Row = dict.fromkeys(next(iter(predictions.values()), _column_names(model)))
    for i, sample in enumerate(split.ids):
        about: Row = {
            "id": sample,
            "available": "+".join(name for name, is_available in zip(names, mask[i], strict=True) if is_available),
            "missing": "+".join(name for name, is_available in zip(names, mask[i], strict=True) if not is_available),
        }
        columns = dict(predictions.get(i, no_prediction))
        if "recovery_weight" in columns:
            weight = columns.pop("recovery_weight")
            recovered = None if weight is None else about["missing"] if weight > 0 else ""
            about |= {"recovered": recovered, "recovery_weight": weight}
        table.append(about | ({} if corpus_columns is None else corpus_columns[i]) | columns)
    return table, recoveries


def corpus_columns(selection: Selection) -> list[Row]:
    """For each sample ``true_label`` and ``text``, where the corpus has them."""
    given = selection.given
    columns: dict[str, list[Any]] = {}
    if given.labels is not None:
        columns["true_label"] = [
            None if not labelled else selection.classes[int(y)] if given.labels.dtype.kind != "f" else float(y)
            for y, labelled in zip(given.labels, given.labelled, strict=True)
        ]
    if given.texts is not None:
        columns["text"] = list(given.texts)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values())] or [{} for _ in given.ids]


def _columns(
    model: Model, output: Output, available: Mask, served: NDArray[np.bool_], level: float
) -> list[dict[str, Any]]:
    """Columns of a batch's predictions, for the rows that were served."""
    spread, prediction = output.spread.cpu().numpy()[:, served], output.prediction.double().cpu().numpy()[served]
    is_classification = model.spec.task == "classification"
    columns = _classes(prediction, model.spec) if is_classification else _values(prediction, spread.astype(np.float64))
    if model.calibration is not None:
        sure = _certainty(model.calibration, spread.swapaxes(0, 1), available[served], level)
        columns = [values | more for values, more in zip(columns, sure, strict=True)]
    if output.recovery_weight is not None:
        weights = output.recovery_weight.double().cpu().numpy()[served].tolist()
        columns = [{"recovery_weight": weight} | values for weight, values in zip(weights, columns, strict=True)]
    return columns


def _column_names(model: Model) -> list[str]:
    """Names of the columns of `_columns`."""
    names = ["recovery_weight"] if model.recovery_weights() else []
    if model.spec.task == "classification":
        names += ["label", *(f"p_{name}" for name in model.spec.classes), "entropy"]
        return [*names, "set"] if model.calibration is not None else names
    names += ["prediction", "std", "q05", "q95"]
    return [*names, "low", "high"] if model.calibration is not None else names


def _values(prediction: NDArray[np.float64], spread: NDArray[np.float64]) -> list[dict[str, Any]]:
    std = spread.std(axis=0, ddof=1) if len(spread) > 1 else np.zeros(spread.shape[1])
    low, high = np.quantile(spread, (0.05, 0.95), axis=0)
    names = ("prediction", "std", "q05", "q95")
    return [dict(zip(names, map(float, row), strict=True)) for row in zip(prediction, std, low, high, strict=True)]


def _classes(probabilities: NDArray[np.float64], spec: Spec) -> list[dict[str, Any]]:
    entropy = -(probabilities * np.log(np.clip(probabilities, 1e-300, None))).sum(axis=1)
    return [
        {"label": spec.classes[int(p.argmax())]}
        | {f"p_{name}": float(value) for name, value in zip(spec.classes, p, strict=True)}
        | {"entropy": float(abs(h))}
        for p, h in zip(probabilities, entropy, strict=True)
    ]


def _certainty(
    calibration: Calibration, spread: NDArray[np.floating[Any]], available: Mask, level: float
) -> list[dict[str, Any]]:
    """Intervals or prediction sets from a spread ``(M, S)`` or ``(M, S, C)``."""
    if calibration.spec.task == "classification":
        members = describe_classes(calibration, spread, available, level).members.tolist()
        classes = calibration.spec.classes
        return [{"set": "|".join(c for c, is_member in zip(classes, row, strict=True) if is_member)} for row in members]
    intervals = describe_values(calibration, spread, available, level)
    return [
        {"low": low, "high": high} for low, high in zip(intervals.low.tolist(), intervals.high.tolist(), strict=True)
    ]
