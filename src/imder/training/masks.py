"""Which masks a phase trains and validates on.

Training draws afresh each epoch, from (seed, epoch). Validation masks are fixed: every pattern of every sample where
there are few, a fixed number of draws otherwise, so that two epochs (and two systems) are compared on the same thing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Split
from imder.data.loader import Pass, served
from imder.data.missing import AnySubset, Missing, NaturalMissing, OfficialSchedule, RandomMissing, patterns
from imder.training.config import PhaseConfig, TrainingConfig

MANY_PATTERNS = 7


def protocol_of(phase: PhaseConfig, training: TrainingConfig) -> Missing:
    """The protocol that draws a phase's training masks."""
    if phase.missing in ("none", "every"):
        return NaturalMissing()
    rate = training.missing_rate
    if phase.missing == "any" or rate == "any":
        return AnySubset()
    if rate == "official":
        return OfficialSchedule(training.official_rate, phase.batch_size)
    assert not isinstance(rate, str)
    return RandomMissing(rate)


def training_pass(
    split: Split, phase: PhaseConfig, training: TrainingConfig, epoch: int, rank: int = 0, world: int = 1
) -> Pass:
    """One epoch's pass over a split, shuffled; a global batch holds ``world`` times the batch size."""
    seen = strict_mask(split, training) if training.strict else None
    present = split.present if seen is None else seen
    if seen is not None and phase.missing == "rate":
        available = seen
    else:
        available = protocol_of(phase, training).draw(present, _epoch_seed(training, epoch))
    rows = np.flatnonzero(available.any(1) & labelled(split))
    return Pass(split, rows, available[rows], phase.batch_size * world, seen, rank, world).shuffled(
        training.seed, epoch
    )


def strict_mask(split: Split, training: TrainingConfig) -> NDArray[np.bool_]:
    """What a strict run may ever see of a split: one draw."""
    rate = training.missing_rate
    assert not isinstance(rate, str)
    return RandomMissing(rate).draw(split.present, training.seed)


def validation_passes(split: Split, phase: PhaseConfig, training: TrainingConfig, *, every_pattern: bool) -> Pass:
    """All (sample, mask) pairs that a phase is validated on."""
    present = split.present
    rate = training.missing_rate
    natural = phase.missing == "none"
    free = phase.missing in ("any", "every") or rate in ("any", "official")
    if natural:
        masks = [present]
    elif free and every_pattern and 2 ** present.shape[1] - 1 <= MANY_PATTERNS:
        subsets = np.array(patterns(present.shape[1]))
        masks = [np.where((s & ~present).any(1, keepdims=True), False, present & s) for s in subsets]
    else:
        draw = AnySubset() if free else RandomMissing(float(rate))
        masks = [draw.draw(present, 10_000 + i) for i in range(training.validation_draws)]
    known = labelled(split)
    rows = [np.flatnonzero(m.any(1) & known) for m in masks]
    available = np.concatenate([m[r] for m, r in zip(masks, rows, strict=True)])
    return Pass(split, np.concatenate(rows), available, 256)


def natural_pass(split: Split, training: TrainingConfig, batch_size: int = 256) -> Pass:
    """Everything present (and, when strict, ever seen) is available, in file order."""
    seen = strict_mask(split, training) if training.strict else split.present
    return served(split, seen, batch_size, seen)


def labelled(split: Split) -> NDArray[np.bool_]:
    """``(N,)`` bool: which samples have a label."""
    labels = split.labels
    if labels is None:
        return np.zeros(len(split), dtype=bool)
    return ~np.isnan(labels) if labels.dtype.kind == "f" else labels >= 0


def _epoch_seed(training: TrainingConfig, epoch: int) -> int:
    return int(np.random.SeedSequence((training.seed, epoch)).generate_state(1)[0])
