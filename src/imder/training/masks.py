"""Which masks a phase trains and validates on.

Training draws afresh each epoch, from (seed, epoch). Validation masks are fixed: every pattern of every sample where
there are few, a fixed number of draws otherwise, so that two epochs (and two systems) are compared on the same thing.

A system with ``context`` gets whole dialogues, in which each clip has a pattern of its own; clips without a label are there
as neighbours.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Split
from imder.data.dialogues import dialogue_numbers, whole_dialogues
from imder.data.loader import MaskedLoader, available_loader
from imder.missingness.patterns import patterns
from imder.missingness.protocols import PROTOCOLS, AnySubset, Missing, MissingByBatch, NaturalMissing, RandomMissing
from imder.training.config import PhaseConfig, TrainingConfig
from imder.types import ImderError

MANY_PATTERNS = 7


def mode_of(phase: PhaseConfig, training: TrainingConfig) -> str:
    """Which masks a phase draws: a rate that is asked for wins over ``every`` and ``any``.

    A strict run has its rate in what it ever sees, and draws from that as the phase says.
    """
    if training.permanently_missing or training.missing_rate == "any" or phase.missing == "none":
        return "any" if phase.missing == "rate" and training.missing_rate == "any" else phase.missing
    return "rate"


def protocol_of(phase: PhaseConfig, training: TrainingConfig) -> Missing:
    """The protocol that draws a phase's training masks."""
    mode = mode_of(phase, training)
    if mode in ("none", "every") or (mode == "rate" and training.permanently_missing):
        return NaturalMissing()
    if mode == "any":
        return AnySubset()
    rate = training.missing_rate
    if not isinstance(rate, str):
        return RandomMissing(rate)
    masks = PROTOCOLS[rate].training
    assert masks is not None, f"checked by TrainingConfig: {rate}"
    return masks(training.nominal_rate, phase.batch_size)


def training_loader(
    split: Split,
    phase: PhaseConfig,
    training: TrainingConfig,
    epoch: int,
    rank: int = 0,
    world: int = 1,
    *,
    context: bool = False,
    unlabelled: bool = False,
) -> MaskedLoader:
    """One epoch's pass over the labelled samples of a split, shuffled; a global batch holds ``world`` batches.

    With ``unlabelled``: over all samples, for a phase that asks for no labels.

    The official schedule's patterns belong to batches: its own order is kept. With ``context``: over all samples of the
    dialogues that have a label, in whole dialogues of about ``batch_size`` samples together.

    Raises:
        ImderError: the official schedule where it is undefined, or masks that don't go with dialogues.
    """
    protocol, seed = protocol_of(phase, training), _epoch_seed(training, epoch)
    if context:
        _check_dialogues(mode_of(phase, training), protocol)
    seen = permanent_mask(split, training) if training.permanently_missing else None
    known = np.arange(len(split)) if unlabelled else np.flatnonzero(_learned_from(split, context))
    available = protocol.sample((split.present if seen is None else seen)[known], seed)
    whole = MaskedLoader(split, known, available, phase.batch_size * world, seen, rank, world)
    if isinstance(protocol, MissingByBatch):
        order = protocol.order(len(known), seed)
        return replace(whole, rows=known[order], available=available[order])
    whole = whole_dialogues(whole) if context else whole
    return whole.shuffled(training.seed, epoch)


def _check_dialogues(mode: str, protocol: Missing) -> None:
    """Whether a mode's masks can be drawn for whole dialogues (`ImderError`)."""
    if mode == "every":
        raise ImderError(
            "training.stage1.missing 'every' tries every pattern of a sample alone; this system reads whole dialogues, "
            "in which each sample has a pattern: use 'any' or 'rate'"
        )
    if isinstance(protocol, MissingByBatch):
        raise ImderError(
            f"missing_rate {protocol.protocol!r} draws one pattern for a batch of single samples; this system reads whole dialogues: "
            "use 'any' or a number"
        )


def permanent_mask(split: Split, training: TrainingConfig) -> NDArray[np.bool_]:
    """What a strict run may ever see of a split: one draw."""
    rate = training.missing_rate
    assert not isinstance(rate, str)
    return RandomMissing(rate).sample(split.present, training.seed)


def validation_loader(
    split: Split, phase: PhaseConfig, training: TrainingConfig, *, all_patterns: bool, context: bool = False
) -> MaskedLoader:
    """All (sample, mask) pairs that a phase is validated on; with ``context``, all of the dialogues that have a label."""
    seen = permanent_mask(split, training) if training.permanently_missing else None
    present = split.present if seen is None else seen
    mode, rate = mode_of(phase, training), training.missing_rate
    if mode == "none" or (mode == "rate" and training.permanently_missing):
        masks = [present]
    elif mode == "rate" and not isinstance(rate, str):
        masks = [RandomMissing(rate).sample(present, 10_000 + i) for i in range(training.validation_draws)]
    elif all_patterns and not context and 2 ** present.shape[1] - 1 <= MANY_PATTERNS:
        subsets = np.array(patterns(present.shape[1]))
        masks = [np.where((s & ~present).any(1, keepdims=True), False, present & s) for s in subsets]
    else:
        masks = [AnySubset().sample(present, 10_000 + i) for i in range(training.validation_draws)]
    known = _learned_from(split, context)
    rows = [np.flatnonzero((m.any(1) | context) & known) for m in masks]
    available = np.concatenate([m[r] for m, r in zip(masks, rows, strict=True)])
    pairs = MaskedLoader(split, np.concatenate(rows), available, 256, seen)
    return whole_dialogues(pairs, np.repeat(np.arange(len(rows)), [len(r) for r in rows]), 256) if context else pairs


def natural_loader(
    split: Split, training: TrainingConfig, batch_size: int = 256, *, context: bool = False
) -> MaskedLoader:
    """Everything present (and, when strict, ever seen) is available, in file order (by dialogue, with ``context``)."""
    seen = permanent_mask(split, training) if training.permanently_missing else split.present
    if context:
        return whole_dialogues(MaskedLoader(split, np.arange(len(split)), seen, batch_size, seen), at_once=batch_size)
    return available_loader(split, seen, batch_size, seen)


def _learned_from(split: Split, context: bool) -> NDArray[np.bool_]:
    """``(N,)`` bool: what is labelled or, with ``context``, belongs to a dialogue of which something is."""
    known = labelled(split)
    if not context:
        return known
    dialogue = dialogue_numbers(split)
    return np.isin(dialogue, dialogue[known])


def hide_labels(split: Split, share: float, seed: int) -> Split:
    """The split with ``share`` of its labels, at least one; which ones belongs to the seed, whatever system learns."""
    if share == 1 or split.labels is None:
        return split
    known = np.flatnonzero(labelled(split))
    kept = np.random.default_rng((seed, 25)).permutation(known)[: max(1, round(share * len(known)))]
    labels = np.full_like(split.labels, np.nan if split.labels.dtype.kind == "f" else -1)
    labels[kept] = split.labels[kept]
    return replace(split, labels=labels)


def labelled(split: Split) -> NDArray[np.bool_]:
    """``(N,)`` bool: which samples have a label."""
    labels = split.labels
    if labels is None:
        return np.zeros(len(split), dtype=bool)
    return ~np.isnan(labels) if labels.dtype.kind == "f" else labels >= 0


def _epoch_seed(training: TrainingConfig, epoch: int) -> int:
    return int(np.random.SeedSequence((training.seed, epoch)).generate_state(1)[0])
