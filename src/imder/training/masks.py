"""The masks that a phase is trained and validated on.

Training draws new masks each epoch, from (seed, epoch). Validation masks are fixed: every pattern of every sample if there
are few, else a fixed number of draws. Epochs, and systems, are thus compared on the same masks.

A system with ``context`` gets whole dialogues, in which each clip has its own pattern. Clips without a label serve as
neighbours. Where every subset of a clip is tried, the masks of the batch are those of its neighbours.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Split
from imder.data.dialogues import dialogue_numbers, whole_dialogues
from imder.data.erasure import Erasure
from imder.data.loader import MaskedLoader, available_loader
from imder.missingness.any_rate import AnyRate
from imder.missingness.masks import Mask
from imder.missingness.patterns import patterns
from imder.missingness.protocols import (
    PROTOCOLS,
    AnySubset,
    ErasesFrames,
    Missing,
    MissingByBatch,
    NaturalMissing,
    RandomMissing,
)
from imder.training.config import TrainingConfig
from imder.training.phase_config import PhaseConfig
from imder.types import ImderError

MANY_PATTERNS = 7
"""Up to so many patterns, validation tries all of them."""


def mode_of(phase: PhaseConfig, training: TrainingConfig) -> str:
    """The kind of masks of a phase, a value of `PhaseConfig.missing`: a missing rate overrides ``every`` and ``any``.

    So does a protocol that erases frames. With ``permanently_missing`` the rate decides what is visible at all; the phase
    draws from that as it is configured.
    """
    if training.protocol != "random" and phase.missing != "none":
        return "rate"
    if training.permanently_missing or training.missing_rate == "any" or phase.missing == "none":
        return "any" if phase.missing == "rate" and training.missing_rate == "any" else phase.missing
    return "rate"


def protocol_of(phase: PhaseConfig, training: TrainingConfig, dialogue: NDArray[np.int64] | None = None) -> Missing:
    """The protocol that draws a phase's training masks.

    Args:
        phase: its kind of masks.
        training: missing rate.
        dialogue: ``(N,)`` dialogues of the samples, for a system with context: where every subset of a clip is tried, its
            neighbours have masks of `AnyRate`.
    """
    mode = mode_of(phase, training)
    if mode == "rate" and training.protocol != "random":
        return _frame_protocol(training, phase.batch_size, dialogue)
    if mode == "every" and dialogue is not None:
        return AnyRate(dialogue)
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


def _frame_protocol(training: TrainingConfig, batch_size: int, dialogue: NDArray[np.int64] | None) -> Missing:
    """The protocol that erases frames at the rate of a training, or at any."""
    row, rate = PROTOCOLS[training.protocol], training.missing_rate
    assert row.training is not None
    assert row.any_rate is not None
    return row.any_rate(dialogue) if isinstance(rate, str) else row.training(rate, batch_size)


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
    """One epoch's pass over the labelled samples of a split, shuffled.

    Protocols that give a pattern to a whole batch (the official schedule) keep their own order.

    Args:
        split: the samples.
        phase: batch size and kind of masks.
        training: seed and missing rate.
        epoch: counts from 0; decides order and masks, with the seed.
        rank: number of this process.
        world: number of processes; a global batch holds a batch of each.
        context: whole dialogues with at least one label, about ``batch_size`` samples in a batch.
        unlabelled: all samples, for a phase that needs no labels.

    Raises:
        ImderError: the official schedule where it is undefined, or masks that cannot be drawn for dialogues.
    """
    seed = _epoch_seed(training, epoch)
    visible = permanent_mask(split, training) if training.permanently_missing else None
    present = split.present if visible is None else visible
    wanted = np.ones(len(split), dtype=bool) if unlabelled else _training_rows(split, context)
    rows = np.flatnonzero(wanted & (context | present.any(1)))
    served = present[rows].any(1)  # in dialogues, a clip of nothing keeps its position
    protocol = protocol_of(phase, training, dialogue_numbers(split)[rows[served]] if context else None)
    _check_context(protocol, context)
    available, erasure = _sample(protocol, present[rows], seed)
    size = phase.batch_size * world
    loader = MaskedLoader(split, rows, available, size, visible, rank, world, erasure=erasure, complete=True)
    if isinstance(protocol, MissingByBatch):
        return loader.take(protocol.order(len(rows), seed))
    loader = whole_dialogues(loader) if context else loader
    return loader.shuffled(training.seed, epoch)


def check_masks(split: Split, phase: PhaseConfig, training: TrainingConfig, *, context: bool) -> None:
    """Raise `ImderError` where `training_loader` would, for its rows, without making a loader."""
    protocol = protocol_of(phase, training)
    _check_context(protocol, context)
    if context:
        dialogue_numbers(split)
    try:
        present = _usable(split, training)[_training_rows(split, context)]
        protocol.sample(present[present.any(1)], 0)
    except ImderError as error:
        name = f"training.missing_rate {training.missing_rate!r} (--missing-rate)"
        raise ImderError(f"{name}: {error}; any trains on random subsets") from None


def _usable(split: Split, training: TrainingConfig) -> Mask:
    """``(N, K)`` bool: what is present and not permanently missing."""
    return permanent_mask(split, training) if training.permanently_missing else split.present


def _check_context(protocol: Missing, context: bool) -> None:
    if context and isinstance(protocol, MissingByBatch):
        raise ImderError(
            f"missing_rate {protocol.protocol!r} draws one pattern for a batch of single samples; "
            "this system reads whole dialogues: use 'any' or a number"
        )


def _sample(protocol: Missing, present: Mask, seed: int) -> tuple[Mask, Erasure | None]:
    """Masks ``(N, K)`` and, under a protocol that erases frames, the erased ones; nothing for rows that hold nothing."""
    rows = np.flatnonzero(present.any(1))
    available = np.zeros_like(present)
    available[rows] = protocol.sample(present[rows], seed)
    if not isinstance(protocol, ErasesFrames):
        return available, None
    drawn, rates = protocol.erasure(present[rows], seed), np.zeros(present.shape)
    rates[rows] = drawn.rates
    return available, Erasure(rates, np.full(len(present), seed % 2**64, np.uint64))


def permanent_mask(split: Split, training: TrainingConfig) -> NDArray[np.bool_]:
    """``(N, K)`` bool: what stays visible of a split with ``permanently_missing``, one draw by the seed."""
    rate = training.missing_rate
    assert not isinstance(rate, str)
    return RandomMissing(rate).sample(split.present, training.seed)


def validation_loader(
    split: Split, phase: PhaseConfig, training: TrainingConfig, *, all_patterns: bool, context: bool = False
) -> MaskedLoader:
    """The fixed (sample, mask) pairs that a phase is validated on.

    Args:
        split: the validation samples.
        phase: the kind of masks.
        training: missing rate and number of draws.
        all_patterns: try every pattern of each sample, if there are at most `MANY_PATTERNS`.
        context: whole dialogues with at least one label.
    """
    visible = permanent_mask(split, training) if training.permanently_missing else None
    present = split.present if visible is None else visible
    mode, rate = mode_of(phase, training), training.missing_rate
    erasures: list[Erasure | None] | None = None
    if mode == "rate" and training.protocol != "random":
        masks, erasures = frame_draws(split, training, training.validation_draws, 10_000, context=context)
    elif mode == "none" or (mode == "rate" and training.permanently_missing):
        masks = [present]
    elif mode == "rate" and not isinstance(rate, str):
        masks = [RandomMissing(rate).sample(present, 10_000 + i) for i in range(training.validation_draws)]
    elif all_patterns and not context and 2 ** present.shape[1] - 1 <= MANY_PATTERNS:
        subsets = np.array(patterns(present.shape[1]))
        masks = [np.where((s & ~present).any(1, keepdims=True), False, present & s) for s in subsets]
    else:
        draws = MANY_PATTERNS if context and mode == "every" else training.validation_draws
        masks = [any_subset(present, 10_000 + i) for i in range(draws)]
    wanted = _training_rows(split, context)
    rows = [np.flatnonzero((m.any(1) | context) & wanted) for m in masks]
    available = np.concatenate([m[r] for m, r in zip(masks, rows, strict=True)])
    pairs = MaskedLoader(split, np.concatenate(rows), available, 256, visible, complete=True)
    if erasures is not None:
        parts = [None if e is None else e.take(r) for e, r in zip(erasures, rows, strict=True)]
        pairs = replace(pairs, erasure=Erasure.joined(parts, [len(r) for r in rows], available.shape[1]))
    return whole_dialogues(pairs, np.repeat(np.arange(len(rows)), [len(r) for r in rows]), 256) if context else pairs


def frame_draws(
    split: Split, training: TrainingConfig, draws: int, seed: int, *, context: bool
) -> tuple[list[Mask], list[Erasure | None]]:
    """Masks ``(N, K)`` and erased frames of some draws under the frame protocol of a training."""
    held = split.present.any(1)
    protocol = _frame_protocol(training, 1, dialogue_numbers(split)[held] if context else None)
    masks, erasures = zip(*(_sample(protocol, split.present, seed + i) for i in range(draws)), strict=True)
    return list(masks), list(erasures)


def any_subset(present: NDArray[np.bool_], seed: int) -> NDArray[np.bool_]:
    """A mask of `AnySubset` for each row that holds anything; nothing for the others."""
    rows = np.flatnonzero(present.any(1))
    available = np.zeros_like(present)
    available[rows] = AnySubset().sample(present[rows], seed)
    return available


def natural_loader(
    split: Split, training: TrainingConfig, batch_size: int = 256, *, context: bool = False
) -> MaskedLoader:
    """Everything visible is available; samples in file order, or dialogue by dialogue with ``context``."""
    visible = _usable(split, training)
    if context:
        loader = MaskedLoader(split, np.arange(len(split)), visible, batch_size, visible)
        return whole_dialogues(loader, at_once=batch_size)
    return available_loader(split, visible, batch_size, visible)


def _training_rows(split: Split, context: bool) -> NDArray[np.bool_]:
    """``(N,)`` bool: the labelled samples or, with ``context``, all samples of dialogues with at least one label.

    All samples where the corpus has no labels.
    """
    if split.labels is None:
        return np.ones(len(split), dtype=bool)
    if not context:
        return split.labelled
    dialogue = dialogue_numbers(split)
    return np.isin(dialogue, dialogue[split.labelled])


def hide_labels(split: Split, share: float, seed: int) -> Split:
    """The split with ``share`` of its labels, at least one, drawn by the seed: the same ones for every system."""
    if share == 1 or split.labels is None:
        return split
    rows = np.flatnonzero(split.labelled)
    kept = np.random.default_rng((seed, 25)).permutation(rows)[: max(1, round(share * len(rows)))]
    labels = np.full_like(split.labels, np.nan if split.labels.dtype.kind == "f" else -1)
    labels[kept] = split.labels[kept]
    return replace(split, labels=labels)


def _epoch_seed(training: TrainingConfig, epoch: int) -> int:
    return int(np.random.SeedSequence((training.seed, epoch)).generate_state(1)[0])
