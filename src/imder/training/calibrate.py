"""The last step of training: calibrate the uncertainty of a trained system on validation rows.

Every validation sample is predicted under every subset of its modalities (`imder.training.validation`), with as many
recoveries as later predictions use; `imder.calibration.calibration` compares with the labels.

For a system that reads whole dialogues, rows are grouped by the clip's own subset. Coverage then holds on average over
neighbours with masks like those of `predict_validation`, random at any rate, not for neighbours that lack more or less.
"""

from __future__ import annotations

import numpy as np

from imder.calibration.calibration import Calibration, fit_calibration
from imder.data.corpus import Corpus
from imder.models.base import Model
from imder.training.config import TrainingConfig
from imder.training.validation import predict_validation


def calibrate(model: Model, corpus: Corpus, training: TrainingConfig) -> Calibration | None:
    """Calibrate a trained system on the validation split.

    Args:
        model: in evaluation mode.
        corpus: with labels in train (whose bounds it needs) and valid.
        training: the seed, the number of samples (0 for no calibration), and ``permanently_missing``.

    Returns:
        The calibration; None if ``training`` asks for none.

    Raises:
        ImderError: the validation split has no labelled sample with a visible modality.
    """
    if not training.calibration_samples:
        return None
    predictions = predict_validation(model, corpus, training, training.calibration_samples)
    return fit_calibration(
        model.spec,
        predictions.spread,
        predictions.available,
        predictions.labels,
        predictions.rows,
        label_bounds(corpus, model.spec.task),
    )


def label_bounds(corpus: Corpus, task: str) -> tuple[float, float] | None:
    """The least and the greatest label of train and valid; None for classification."""
    if task == "classification":
        return None
    known = [s.labels[s.labelled] for s in (corpus["train"], corpus["valid"]) if s.labels is not None]
    labels = np.concatenate(known)
    return float(labels.min()), float(labels.max())
