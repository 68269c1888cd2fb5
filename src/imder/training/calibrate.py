"""The last step of training: how sure the finished system is, learned from validation rows.

Every validation sample is predicted under every subset of what it has (`imder.training.validation`), with as many recoveries
as predictions use, and `imder.calibration.calibration` compares with the labels.

For a system that reads whole dialogues rows are taken together by the clip's own subset: what is promised holds on average
over neighbours that show as much as in `predict_validation`, not for neighbours that lack more or less.
"""

from __future__ import annotations

import numpy as np

from imder.calibration.calibration import Calibration, fit_calibration
from imder.data.corpus import Corpus
from imder.models.base import Model
from imder.training.config import TrainingConfig
from imder.training.masks import labelled
from imder.training.validation import predict_validation


def calibrate(model: Model, corpus: Corpus, training: TrainingConfig) -> Calibration | None:
    """Calibrate a trained system on the validation split.

    Args:
        model: in evaluation mode.
        corpus: with labels in train (whose bounds it needs) and valid.
        training: ``calibration`` samples at most (0: none is made), and what a strict run may see.

    Raises:
        ImderError: the validation split has no labelled sample with anything to see.
    """
    if not training.calibration_samples:
        return None
    judged = predict_validation(model, corpus, training, training.calibration_samples)
    return fit_calibration(
        model.spec,
        judged.spread,
        judged.available,
        judged.labels,
        judged.rows,
        label_bounds(corpus, model.spec.task),
    )


def label_bounds(corpus: Corpus, task: str) -> tuple[float, float] | None:
    """The least and the greatest label of training and validation; None for classes."""
    if task == "classification":
        return None
    labels = [s.labels[labelled(s)] for s in (corpus["train"], corpus["valid"]) if s.labels is not None]
    every = np.concatenate(labels)
    return float(every.min()), float(every.max())
