"""IMDer's training.

Stage 1 trains encoders and fusion. Stage 2 of the paper's and the official presets trains everything else at once
(``joint``), sampling in every step. Stage 2 of ``fast`` has three phases, since no gradient passes through the sampler: score
networks learn without any sampling (``score``), and, with `RecoveryConfig.distilled`, networks that draw in one evaluation learn
from them (``distillation``); refinement and the recovery branch learn from recoveries that are sampled
once, with context in each epoch (``recovery``); the control branch learns in the same way from zeros (``control``). At the
end, the weight of the recovery branch is chosen on validation for each pattern of availability, against the control.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Self

import torch
from torch import Tensor, nn

from imder.diffusion import KeyedNoise
from imder.missingness.subsets import pattern_bits
from imder.models.base import Phase
from imder.models.imder.branch import without_recovery
from imder.models.imder.branch_weights import BRANCH_WEIGHTS, BranchLosses
from imder.models.imder.config import IMDerConfig
from imder.models.imder.distilled_recovery import DistilledRecovery
from imder.models.imder.linear_mean import FOLDS
from imder.models.imder.objectives import IMDerObjectives
from imder.models.imder.recovery import ErasedEncodings, MaskedEncodings
from imder.models.imder.remaining import erase
from imder.models.parts.context import neighbours
from imder.models.parts.encoder import fit_features
from imder.models.parts.fusions.pooled import PooledFusion
from imder.models.parts.losses import (
    is_labelled,
    row_losses,
    to_prediction,
)
from imder.nn.mode import evaluating
from imder.types import Batch, ImderError, Spec

log = logging.getLogger(__name__)

SELECTION_DRAWS = 4
"""Recoveries of each validation row from which the branch weights are chosen."""


MASKS_EACH = 4
"""Random masks of each training sample, for the linear part of recovery."""


class IMDer(IMDerObjectives):
    """Incomplete Multimodality-Diffused Emotion Recognition (Wang, Li, Cui, NeurIPS 2023).

    Args:
        spec: of the corpus.
        config: see `IMDerConfig`; `from_preset` builds it by name.
    """

    system = "imder"
    config_type = IMDerConfig
    phase_names = ("stage1", "score", "distillation", "recovery", "control", "joint")
    phase_settings = MappingProxyType({"control": "recovery"})
    label_free = frozenset({"score", "distillation"})

    @classmethod
    def from_preset(cls, name: str, spec: Spec) -> Self:
        """A new model of a preset (``fast``, ``paper-mosi``, ...; `imder.models.presets.preset_names`).

        Raises:
            ImderError: there is no such preset, or it is another system's.
        """
        from imder.models.presets import read_preset
        from imder.models.registry import build

        preset = read_preset(name)
        model = build(preset["system"], preset["model"], spec)
        if not isinstance(model, cls):
            raise ImderError(f"preset {name!r} configures a {model.system!r}, not a {cls.__name__}")
        return model

    @classmethod
    def phases(cls, config: IMDerConfig) -> tuple[Phase, ...]:
        """With two branches, score networks learn first and are used then; with one, both happen at once.

        Of a recovery without parameters there is no ``score``, and no ``control``, which it would equal: its weight stays 0.
        ``recovery`` remains: it fits the mean of ``train-mean`` and trains the refinement, which `recover` and R^2 use.
        """
        if not config.two_branches:
            return ("stage1", "joint")
        if not config.recovery_kind.learned:
            return ("stage1", "recovery")
        distillation = ("distillation",) if config.recovery.distilled else ()
        return ("stage1", "score", *distillation, "recovery", "control")

    def trainable_modules(self, phase: Phase) -> list[nn.Module]:
        """The modules that a phase trains; encoders learn in stage 1 only."""
        if phase == "stage1":
            return [self.encoders, self.fusion, *([] if self.context is None else [self.context])]
        if phase in ("score", "distillation"):
            return [self.recovery]
        if phase == "joint":
            return [self.recovery, self.refiners, self.fusion]
        branch = self.branch_of(phase)
        return [self.refiners, branch] if phase == "recovery" else [branch]

    @torch.no_grad()
    def on_phase_start(
        self, phase: Phase, batches: Iterable[Batch], seed: int, *, permanently_missing: bool = False
    ) -> None:
        """Fit feature statistics before stage 1 and encoding statistics before stage 2; copy the fusion for its second."""
        self._pool.reset(seed)
        self.recovery.in_training_phase = True
        self._permanently_missing = permanently_missing
        if phase == "stage1" and self.config.encoder.standardize:
            fit_features(self.feature_statistics(), batches)
        if phase == "stage1":
            self.turn_off_unused_context(batches)
        kind = self.config.recovery_kind
        if phase in ("score" if kind.learned else "recovery", "joint"):
            with evaluating(self):
                if kind.conditional:
                    self._record_cooccurrence(batches)
                self.recovery.fit(self._available_encodings(batches))
                self.recovery.fit_means(self._masked_encodings(batches, seed))
                if self.recovers_steps:
                    self.recovery.fit_inpainting(self._erased_encodings(batches, seed))
        if phase == "distillation":
            assert isinstance(self.recovery, DistilledRecovery)
            self.recovery.start_distillation()
        if phase in ("recovery", "control"):
            assert isinstance(self.fusion, PooledFusion)
            self.branch_of(phase).start_from(self.fusion, self.context)

    def _available_encodings(self, batches: Iterable[Batch]) -> Iterator[dict[str, Tensor]]:
        """The available encodings of each batch, in which diffusion works."""
        for batch in batches:
            encodings = self.shared(self.encode(batch))
            yield {k: e[batch.available[:, i]] for i, (k, e) in enumerate(encodings.items())}

    def _masked_encodings(self, batches: Iterable[Batch], seed: int) -> Iterator[MaskedEncodings]:
        """Training encodings under `MASKS_EACH` random masks of everything."""
        for batch in batches:
            encodings, fold = self.encode(batch), _fold_of(batch)
            for i in range(MASKS_EACH):
                kept = KeyedNoise(batch.keys, seed * MASKS_EACH + i).uniform(tuple(batch.available.shape)) < 0.5
                available = batch.available & (kept | ~(batch.available & kept).any(1, keepdim=True))
                observed = self.observe(encodings, replace(batch, available=available))
                yield MaskedEncodings(observed, batch.available, fold)

    def _erased_encodings(self, batches: Iterable[Batch], seed: int) -> Iterator[ErasedEncodings]:
        """Training encodings of which each step is erased at a rate that is uniform in [0, 1] for each sample."""
        for batch in batches:
            erased_batch = erase(batch, seed)
            remaining = self.remaining(erased_batch)
            if remaining is not None:
                observed = self.observe(self.encode(erased_batch), erased_batch, remaining)
                yield ErasedEncodings(self.shared(self.encode(batch)), observed, _fold_of(batch))

    def _record_cooccurrence(self, batches: Iterable[Batch]) -> None:
        """Record which pairs of modalities occur together in training; others can't be conditioned on each other."""
        names = self.spec.names
        counts = torch.zeros_like(self.cooccurrence, dtype=torch.float32)
        for batch in batches:
            counts += batch.available.float().T @ batch.available.float()
        self.cooccurrence.copy_(counts > 0)
        for i, k in enumerate(names):
            if apart := [names[j] for j in range(len(names)) if j != i and counts[i, j] == 0]:
                log.warning(
                    "%s is never seen together with %s in training: its recovery is unconditional where only these are there",
                    k,
                    ", ".join(apart),
                )

    @torch.no_grad()
    def replay(self, phase: Phase, batches: Iterable[tuple[Batch, int]]) -> None:
        """Fill the pool as earlier epochs filled it (see `Model`)."""
        if phase != "recovery":
            return
        with evaluating(self):
            alone = ((batch, seed) for batch, seed in batches if neighbours(batch, self.context_config) is None)
            self._pool.replay(alone, lambda batch: self.observe(self.encode(batch), batch), self._sample_once)

    @torch.no_grad()
    def on_phase_end(self, phase: Phase, batches: Iterable[Batch], seed: int) -> None:
        """Choose the weight of the recovery branch for each pattern (`imder.models.imder.branch_weights`)."""
        self._pool.clear()
        self.recovery.in_training_phase = False
        if isinstance(self.recovery, DistilledRecovery):
            self.recovery.end_distillation()
        if phase != "control":
            return
        branch_losses = BranchLosses()
        with evaluating(self):
            for batch in batches:
                self._add_branch_losses(branch_losses, batch, seed)
        for pattern, weight in branch_losses.select().items():
            self.branch_weight[pattern] = weight

    def _add_branch_losses(self, branch_losses: BranchLosses, batch: Batch, seed: int) -> None:
        """Add the losses of every candidate weight on the labelled rows of a batch."""
        assert batch.labels is not None
        visible, encodings = batch.available.any(1), self.encode(batch)
        draws = SELECTION_DRAWS if self.config.recovery_kind.sampled else 1
        mask, near = without_recovery(batch.available, visible), neighbours(batch, self.context_config)
        remaining = self.remaining(batch)
        whole = self.whole(mask, visible, remaining)
        clips = self.fuse(encodings, batch.available)
        token = to_prediction(self.in_context(clips, clips, near), self.spec)
        recovered = self._recover(encodings, whole, batch, draws, seed, remaining)
        branch = self.branch_of("recovery")(encodings, mask, recovered, draws, clips, near, whole)
        control = self.branch_of("control")(encodings, mask, self._zeros(whole), 1, clips, near, whole)
        rows = (visible & is_labelled(batch.labels, self.spec)).nonzero().squeeze(1)
        base, labels = token.mean(0)[rows], batch.labels[rows]

        def losses_of(outputs: Tensor) -> Tensor:
            other = to_prediction(outputs, self.spec).mean((0, 1))[rows]
            each = [row_losses(w * other + (1 - w) * base, labels, self.spec) for w in BRANCH_WEIGHTS]
            return torch.stack(each, dim=1)

        patterns = pattern_bits(batch.available[rows])
        branch_losses.add(patterns, batch.keys[rows], losses_of(branch), losses_of(control))


def _fold_of(batch: Batch) -> Tensor:
    """``(B,)``: a fold for each dialogue, by its smallest key; for each sample where no dialogue is known."""
    keys = batch.keys
    if batch.dialogue is not None:
        _, number = torch.unique(batch.dialogue, return_inverse=True)
        keys = keys.new_zeros(int(number.max()) + 1).scatter_reduce(0, number, keys, "amin", include_self=False)[number]
    return keys % FOLDS
