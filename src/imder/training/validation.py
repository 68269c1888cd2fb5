"""A finished system on the validation split: every sample under every subset of what it has.

Where there are too many subsets, random ones of `AnySubset` stand for them. What comes of it says how good a system is as
it will be used (`validation_loss`, by which settings are compared), and how sure it may be (`imder.training.calibrate`).
`natural_metrics` are those with everything that is there.

For a system that reads whole dialogues, what a clip's neighbours show matters too. Masks are then drawn for all clips at
once, each clip with a subset of its own, `DIALOGUE_DRAWS` times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from imder import metrics
from imder.data.corpus import Corpus, Split
from imder.data.dialogues import whole_dialogues
from imder.data.loader import MaskedLoader, collate
from imder.missingness.patterns import patterns
from imder.missingness.protocols import AnySubset
from imder.models.base import Model
from imder.models.parts.losses import is_labelled, row_losses
from imder.training.config import TrainingConfig
from imder.training.masks import labelled, natural_loader, permanent_mask
from imder.types import ImderError

MANY_PATTERNS = 31
SUBSET_DRAWS = 16
DIALOGUE_DRAWS = 8
SEED = 20_000  # of masks and noise: neither training's nor validation's


@dataclass(frozen=True)
class ValidationPredictions:
    """M predictions.

    Attributes:
        rows: ``(M,)``, of which validation sample.
        available: ``(M, K)``, what the system was shown of it.
        spread: ``(M, S, ...)``, over recoveries.
        labels: ``(M,)``, the truth.
    """

    rows: NDArray[np.int64]
    available: NDArray[np.bool_]
    spread: NDArray[np.float32]
    labels: NDArray[np.float32] | NDArray[np.int64]


def predict_validation(
    model: Model, corpus: Corpus, training: TrainingConfig, most: int | None = None
) -> ValidationPredictions:
    """Predict the labelled samples of the validation split.

    Args:
        model: in evaluation mode.
        corpus: with split valid.
        training: what a strict run may see, and the seed of the choice.
        most: so many random samples at most; None for all.

    Raises:
        ImderError: the validation split has no labelled sample with anything to see.
    """
    valid = corpus["valid"]
    assert valid.labels is not None
    seen = permanent_mask(valid, training) if training.permanently_missing else valid.present
    known = np.flatnonzero(labelled(valid) & seen.any(1))
    if not len(known):
        raise ImderError(f"{corpus.name}: no labelled sample of split 'valid' has anything to see")
    rng = np.random.default_rng((SEED, training.seed))
    chosen = np.sort(rng.permutation(known)[:most])
    pairs = _dialogue_pairs(valid, seen) if model.uses_context else _pairs(valid, seen, chosen)
    spread = _predict(model, pairs)
    kept = np.flatnonzero(np.isin(pairs.rows, chosen) & pairs.available.any(1))
    rows = pairs.rows[kept]
    return ValidationPredictions(rows, pairs.available[kept], spread[kept], valid.labels[rows])


def validation_loss(model: Model, corpus: Corpus, training: TrainingConfig) -> float:
    """Absolute error or negative log-likelihood of the predictions, averaged over `predict_validation`'s.

    Raises:
        ImderError: it isn't finite, or what `predict_validation` raises.
    """
    judged = predict_validation(model, corpus, training)
    prediction, labels = torch.from_numpy(judged.spread.mean(1)), torch.from_numpy(judged.labels)
    loss = float(row_losses(prediction, labels, model.spec).double().mean())
    if not math.isfinite(loss):
        raise ImderError(f"{corpus.name}: the loss of the predictions for split 'valid' is {loss}")
    return loss


def natural_metrics(model: Model, split: Split, training: TrainingConfig) -> dict[str, float]:
    """Metrics on validation with everything that is present available."""
    predicted, labels = [], []
    for batch in natural_loader(split, replace(training, permanently_missing=False), 64, context=model.uses_context):
        assert batch.labels is not None
        known = is_labelled(batch.labels, model.spec) & batch.available.any(1)
        predicted.append(model.predict(batch.to(model.device)).prediction[known].cpu())
        labels.append(batch.labels[known])
    truth = torch.cat(labels).numpy()
    convention = metrics.default_convention(model.spec.task, truth)
    return metrics.evaluate(convention, torch.cat(predicted).numpy(), truth)


def _pairs(split: Split, seen: NDArray[np.bool_], chosen: NDArray[np.int64]) -> MaskedLoader:
    """Each chosen sample under subsets of what is seen of it, subset by subset."""
    there = seen[chosen]
    k = there.shape[1]
    if 2**k - 1 <= MANY_PATTERNS:
        subsets = np.array(patterns(k))
        pattern, place = np.nonzero(~(subsets[:, None] & ~there).any(2))
        masks = subsets[pattern]
    else:
        every = np.concatenate([AnySubset().sample(there, SEED + i) for i in range(SUBSET_DRAWS)])
        place = np.tile(np.arange(len(chosen)), SUBSET_DRAWS)
        both = np.unique(np.column_stack([every, place]), axis=0)  # a subset drawn twice says nothing new
        masks, place = both[:, :k].astype(bool), both[:, k]
    return MaskedLoader(split, chosen[place], masks, 256)


def _dialogue_pairs(split: Split, seen: NDArray[np.bool_]) -> MaskedLoader:
    """All samples under several draws of masks, dialogue by dialogue; a sample that shows nothing holds a place."""
    there = np.flatnonzero(seen.any(1))
    masks = np.zeros((DIALOGUE_DRAWS, *seen.shape), dtype=bool)
    for i, mask in enumerate(masks):
        mask[there] = AnySubset().sample(seen[there], SEED + i)
    copy = np.repeat(np.arange(DIALOGUE_DRAWS), len(split))
    rows = np.tile(np.arange(len(split)), DIALOGUE_DRAWS)
    return whole_dialogues(MaskedLoader(split, rows, masks.reshape(-1, seen.shape[1]), 256), copy, 256)


def _predict(model: Model, pairs: MaskedLoader) -> NDArray[np.float32]:
    """The spread ``(M, S, ...)`` of all pairs; the system sees neither labels nor what isn't available."""
    split = replace(pairs.split, labels=None)
    found = []
    for index in range(len(pairs)):
        part = pairs.batch_indices(index)
        mask = pairs.available[part]
        dialogue = None if pairs.dialogue is None else pairs.dialogue[part]
        batch = collate(split, pairs.rows[part], mask, seen=mask, dialogue=dialogue).to(model.device)
        found.append(model.predict(batch, seed=SEED).spread.transpose(0, 1).float().cpu().numpy())
    return np.concatenate(found)
