"""How much recoveries explain: recovery R^2 of a trained system on a split (`imder.models.imder.recovery_r2`).

Every sample has a random subset of its modalities, and so have its neighbours; what is missing is recovered and compared with
what is present. A value on training samples far above that on others shows that recovery has over-fitted.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from imder.data.corpus import Corpus, Split
from imder.data.dialogues import whole_dialogues
from imder.data.loader import MaskedLoader
from imder.models.base import Model
from imder.training.config import TrainingConfig
from imder.training.masks import any_subset, permanent_mask
from imder.types import Batch

MOST_SAMPLES, LEAST_SAMPLES = 1024, 32
"""Bounds of the number of samples of a split that are recovered, about."""
MOST_WORK = 1e8 * MOST_SAMPLES
"""Work (`Model.recovery_cost`) above which fewer are recovered: a minute or a few on one core. ``fast`` needs half of it."""
SEED = 20_001


def r2_samples(model: Model) -> int:
    """The most samples of a split that are recovered, fewer where one recovery takes many evaluations of large networks."""
    return min(MOST_SAMPLES, max(LEAST_SAMPLES, int(MOST_WORK / max(1.0, model.recovery_cost()))))


def explained_by_recovery(model: Model, corpus: Corpus, training: TrainingConfig) -> dict[str, dict[str, float]]:
    """Recovery R^2 on training and on validation samples; empty for a system that recovers nothing."""
    if not model.recovery_weights():
        return {}
    return {name: split_r2(model, corpus[name], training) for name in ("train", "valid")}


def split_r2(model: Model, split: Split, training: TrainingConfig | None = None) -> dict[str, float]:
    """Recovery R^2 on a split, by modality and by modality and pattern of availability.

    Args:
        model: trained.
        split: what the model reads (`Model.prepare`).
        training: what is permanently missing has no truth; None for nothing.
    """
    return model.recovery_r2(_batches(model, split, training), SEED)


def _batches(model: Model, split: Split, training: TrainingConfig | None) -> Iterator[Batch]:
    """Batches under random subsets, with what is missing still present."""
    most = r2_samples(model)
    size = min(256, most)
    permanent = permanent_mask(split, training) if training is not None and training.permanently_missing else None
    visible = split.present if permanent is None else permanent
    masks = any_subset(visible, SEED)
    if model.needs_dialogues(split):
        pairs = whole_dialogues(MaskedLoader(split, np.arange(len(split)), masks, size, permanent), at_once=size)
    else:
        chosen = np.random.default_rng(SEED).permutation(np.flatnonzero(visible.any(1)))[:most]
        pairs = MaskedLoader(split, chosen, masks[chosen], size, permanent)
    count = 0
    for batch in pairs:
        if count >= most:
            return
        yield batch.to(model.device)
        count += len(batch)
