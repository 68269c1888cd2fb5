"""The constant baseline: what a system scores that learns nothing from the features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imder.calibration.calibration import Calibration, fit_calibration
from imder.data.corpus import Corpus, Split, constant_baseline
from imder.data.erasure import Erasure
from imder.evaluation.evaluate import evaluate_predictor
from imder.evaluation.predicting import RowNumbers, Values
from imder.evaluation.protocol import EvaluationProtocol
from imder.rows import Rows


def constant_rows(
    corpus: Corpus,
    protocol: EvaluationProtocol | None = None,
    *,
    baseline: float | Sequence[float] | None = None,
    run: str = "",
    calibrated: bool = False,
) -> Rows:
    """Rows of the constant baseline, the model ``constant`` of every table, on the same masks as any system.

    Args:
        corpus: as a model reads it (`Model.prepare`), so that modalities and classes have the same order.
        protocol: what the evaluation covers.
        baseline: the constant of the training corpus (`constant_baseline`); None for that of this corpus' training split.
        run: for the ``run`` column.
        calibrated: add metrics of uncertainty, calibrated on the labels of split ``valid`` if there are any.

    Returns:
        Rows as `imder.evaluate` returns them; none without ``baseline`` and without a labelled training split.
    """
    if baseline is None and "train" in corpus.splits:
        baseline = constant_baseline(corpus["train"], corpus.spec)
    if baseline is None:
        return Rows()
    value = np.asarray(baseline, dtype=np.float64)

    def predict(_: Split, rows: RowNumbers, available: NDArray[np.bool_], *, erasure: Erasure | None = None) -> Values:
        del available, erasure
        return np.broadcast_to(value, (len(rows), 1, *value.shape))

    calibration = _calibration_of(value, corpus) if calibrated else None
    return evaluate_predictor("constant", predict, corpus, protocol, run=run, calibration=calibration)


def _calibration_of(value: NDArray[np.float64], corpus: Corpus) -> Calibration | None:
    """The calibration of the constant on the validation labels; None where there are none."""
    valid = corpus.splits.get("valid")
    rows = np.zeros(0, np.int64) if valid is None else np.flatnonzero(valid.labelled)
    if valid is None or valid.labels is None or not len(rows):
        return None
    labels = valid.labels[rows]
    bounds = None if corpus.spec.task == "classification" else (float(labels.min()), float(labels.max()))
    spread = np.broadcast_to(value, (len(rows), 1, *value.shape))
    # Its errors are the same for every subset of modalities, so all rows calibrate one, the empty one.
    no_modality = np.zeros((len(rows), len(corpus.spec.names)), dtype=bool)
    return fit_calibration(corpus.spec, spread, no_modality, labels, rows, bounds)
