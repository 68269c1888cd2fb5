"""A trained system on the validation split: every sample under every subset of its modalities.

If there are too many subsets, random ones stand for them. The predictions tell how good a system is in use
(`validation_loss`, by which tuning compares settings) and calibrate its uncertainty (`imder.training.calibrate`).
`natural_metrics` are the metrics with everything available.

For a system that reads whole dialogues, masks are drawn for all clips at once, `DIALOGUE_DRAWS` times, each dialogue at a
missing rate of its own (`imder.missingness.any_rate`): what lacks little has neighbours that lack little, as in use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from imder import metrics
from imder.data.corpus import Corpus, Split
from imder.data.dialogues import dialogue_numbers, whole_dialogues
from imder.data.erasure import Erasure
from imder.data.loader import MaskedLoader
from imder.missingness.any_rate import AnyRate
from imder.missingness.patterns import patterns
from imder.missingness.protocols import AnySubset
from imder.models.base import Model
from imder.models.parts.losses import is_labelled, row_losses
from imder.training.config import TrainingConfig
from imder.training.masks import frame_draws, natural_loader, permanent_mask
from imder.types import ImderError

MANY_PATTERNS = 31
"""Up to so many patterns, all subsets are tried; beyond, `SUBSET_DRAWS` random ones of each sample."""
SUBSET_DRAWS = 16
DIALOGUE_DRAWS = 8
SEED = 20_000
"""Of masks and noise; different from the seeds of training and of its validation."""


@dataclass(frozen=True)
class ValidationPredictions:
    """M predictions.

    Attributes:
        rows: ``(M,)`` row numbers in the validation split.
        available: ``(M, K)`` bool, the subset that was available.
        spread: ``(M, S)`` values or ``(M, S, C)`` probabilities, one for each recovery.
        labels: ``(M,)``.
    """

    rows: NDArray[np.int64]
    available: NDArray[np.bool_]
    spread: NDArray[np.float32]
    labels: NDArray[np.float32] | NDArray[np.int64]


def predict_validation(
    model: Model, corpus: Corpus, training: TrainingConfig, most: int | None = None
) -> ValidationPredictions:
    """Predict the labelled samples of the validation split.

    After training under a protocol that erases frames, under `SUBSET_DRAWS` draws of that protocol.

    Args:
        model: in evaluation mode.
        corpus: with split valid.
        training: protocol, ``permanently_missing``, and the seed of the choice of samples.
        most: samples at most, chosen at random; None for all.

    Raises:
        ImderError: the validation split has no labelled sample with a visible modality.
    """
    valid = corpus["valid"]
    assert valid.labels is not None
    visible = permanent_mask(valid, training) if training.permanently_missing else valid.present
    candidates = np.flatnonzero(valid.labelled & visible.any(1))
    if not len(candidates):
        raise ImderError(f"{corpus.name}: no labelled sample of split 'valid' has a visible modality")
    rng = np.random.default_rng((SEED, training.seed))
    chosen = np.sort(rng.permutation(candidates)[:most])
    if training.protocol != "random":
        pairs = _frame_pairs(valid, training, chosen, context=model.needs_dialogues(valid))
    else:
        pairs = _dialogue_pairs(valid, visible) if model.needs_dialogues(valid) else _pairs(valid, visible, chosen)
    spread = _predict(model, pairs)
    kept = np.flatnonzero(np.isin(pairs.rows, chosen) & pairs.available.any(1))
    rows = pairs.rows[kept]
    return ValidationPredictions(rows, pairs.available[kept], spread[kept], valid.labels[rows])


def validation_loss(model: Model, corpus: Corpus, training: TrainingConfig) -> float:
    """The mean absolute error, or negative log-likelihood, of `predict_validation`.

    Raises:
        ImderError: it isn't finite, or what `predict_validation` raises.
    """
    predictions = predict_validation(model, corpus, training)
    prediction, labels = torch.from_numpy(predictions.spread.mean(1)), torch.from_numpy(predictions.labels)
    loss = float(row_losses(prediction, labels, model.spec).double().mean())
    if not math.isfinite(loss):
        raise ImderError(f"{corpus.name}: the loss of the predictions for split 'valid' is {loss}")
    return loss


def natural_metrics(model: Model, split: Split, training: TrainingConfig) -> dict[str, float]:
    """Metrics on validation with everything that is present available."""
    predictions, labels = [], []
    training = replace(training, permanently_missing=False)
    for batch in natural_loader(split, training, 64, context=model.needs_dialogues(split)):
        assert batch.labels is not None
        rows = is_labelled(batch.labels, model.spec) & batch.available.any(1)
        predictions.append(model.predict(batch.to(model.device)).prediction[rows].cpu())
        labels.append(batch.labels[rows])
    truth = torch.cat(labels).numpy()
    convention = metrics.default_convention(model.spec.task, truth)
    return metrics.evaluate(convention, torch.cat(predictions).numpy(), truth)


def _pairs(split: Split, visible: NDArray[np.bool_], chosen: NDArray[np.int64]) -> MaskedLoader:
    """Each chosen sample under subsets of its visible modalities, subset by subset."""
    visible = visible[chosen]
    k = visible.shape[1]
    if 2**k - 1 <= MANY_PATTERNS:
        subsets = np.array(patterns(k))
        pattern, index = np.nonzero(~(subsets[:, None] & ~visible).any(2))
        masks = subsets[pattern]
    else:
        drawn = np.concatenate([AnySubset().sample(visible, SEED + i) for i in range(SUBSET_DRAWS)])
        index = np.tile(np.arange(len(chosen)), SUBSET_DRAWS)
        pairs = np.unique(np.column_stack([drawn, index]), axis=0)  # drop repeated subsets of a sample
        masks, index = pairs[:, :k].astype(bool), pairs[:, k]
    return MaskedLoader(split, chosen[index], masks, 256)


def _frame_pairs(split: Split, training: TrainingConfig, chosen: NDArray[np.int64], *, context: bool) -> MaskedLoader:
    """The chosen samples, or all in dialogues, under draws of the training's protocol."""
    draws = DIALOGUE_DRAWS if context else SUBSET_DRAWS
    masks, erasures = frame_draws(split, training, draws, SEED, context=context)
    rows = np.tile(np.arange(len(split)), draws)
    erasure = Erasure.joined(erasures, [len(split)] * draws, masks[0].shape[1])
    pairs = MaskedLoader(split, rows, np.concatenate(masks), 256, erasure=erasure)
    if context:
        return whole_dialogues(pairs, np.repeat(np.arange(draws), len(split)), 256)
    return pairs.take(np.flatnonzero(np.isin(rows, chosen)))


def _dialogue_pairs(split: Split, visible: NDArray[np.bool_]) -> MaskedLoader:
    """All samples under several draws of masks, dialogue by dialogue; samples without a visible modality are kept."""
    rows = np.flatnonzero(visible.any(1))
    dialogue = dialogue_numbers(split)[rows]
    masks = np.zeros((DIALOGUE_DRAWS, *visible.shape), dtype=bool)
    for i, mask in enumerate(masks):
        mask[rows] = AnyRate(dialogue).sample(visible[rows], SEED + i)
    copy = np.repeat(np.arange(DIALOGUE_DRAWS), len(split))
    rows = np.tile(np.arange(len(split)), DIALOGUE_DRAWS)
    return whole_dialogues(MaskedLoader(split, rows, masks.reshape(-1, visible.shape[1]), 256), copy, 256)


def _predict(model: Model, pairs: MaskedLoader) -> NDArray[np.float32]:
    """The spread ``(M, S, ...)`` of all pairs; batches hold neither labels nor unavailable modalities."""
    pairs = replace(pairs, split=replace(pairs.split, labels=None))
    spreads = []
    for index in range(len(pairs)):
        batch = pairs.available_batch(index).to(model.device)
        spreads.append(model.predict(batch, seed=SEED).spread.transpose(0, 1).float().cpu().numpy())
    return np.concatenate(spreads)
