"""IMDer's training.

Stage 1 trains encoders and fusion. Stage 2 of the paper's and the official presets trains everything else at once
(``joint``), sampling in every step. Stage 2 of ``fast`` has two phases, since no gradient passes through the sampler: score
networks learn without any sampling (``score``), then refinement and the second fusion learn from recoveries that are sampled
once (``recovery``). At the end, the weight of the recovery branch is chosen on validation for each pattern of availability.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Self

import torch
from torch import Tensor, nn

from imder.missingness.subsets import every_subset, pattern_bits
from imder.models.base import Phase, evaluating
from imder.models.imder.branch_weights import BRANCH_WEIGHTS, BranchLosses
from imder.models.imder.config import IMDerConfig
from imder.models.imder.network import IMDerNetwork
from imder.models.imder.pool import Draws, RecoveryPool
from imder.models.parts.encoder import fit_features
from imder.models.parts.fusions.base import AVAILABLE, MISSING
from imder.models.parts.losses import Loss, init_head_bias, row_losses, task_loss
from imder.types import Batch, ImderError, RecoveredEncoding, Spec

log = logging.getLogger(__name__)

SELECTION_DRAWS = 4
"""Recoveries of each validation row from which the branch weights are chosen."""


class IMDer(IMDerNetwork):
    """Incomplete Multimodality-Diffused Emotion Recognition (Wang, Li, Cui, NeurIPS 2023).

    Args:
        spec: of the corpus.
        config: see `IMDerConfig`; `from_preset` builds it by name.
    """

    system = "imder"
    config_type = IMDerConfig
    phase_names = ("stage1", "score", "recovery", "joint")
    label_free = frozenset({"score"})

    def __init__(self, spec: Spec, config: IMDerConfig) -> None:
        super().__init__(spec, config)
        self._pool = RecoveryPool(spec.names, config.cached_draws)
        self._permanently_missing = False

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

        A recovery without parameters has no ``score``.
        """
        if not config.two_branches:
            return ("stage1", "joint")
        return ("stage1", "score", "recovery") if config.recovery_kind.learned else ("stage1", "recovery")

    def trainable_modules(self, phase: Phase) -> list[nn.Module]:
        """The modules that a phase trains; encoders learn in stage 1 only."""
        if phase == "stage1":
            return [self.encoders, self.fusion]
        if phase == "score":
            return [self.recovery]
        if phase == "joint":
            return [self.recovery, self.refiners, self.fusion]
        assert self.recovered_fusion is not None
        return [self.refiners, self.recovered_fusion]

    def init_output_bias(self, labels: Tensor) -> None:
        """Start the fusion's head at the constant baseline."""
        init_head_bias(self.fusion.head, labels, self.spec)

    @torch.no_grad()
    def on_phase_start(
        self, phase: Phase, batches: Iterable[Batch], seed: int, *, permanently_missing: bool = False
    ) -> None:
        """Fit feature statistics before stage 1 and encoding statistics before stage 2; copy the fusion for its second."""
        self._pool.reset(seed)
        self._permanently_missing = permanently_missing
        if phase == "stage1" and self.config.encoder.standardize:
            fit_features({k: e.standardize for k, e in self.encoders.items()}, batches)
        kind = self.config.recovery_kind
        if phase in ("score" if kind.learned else "recovery", "joint"):
            with evaluating(self):
                if kind.conditional:
                    self._record_cooccurrence(batches)
                self.recovery.fit(self._available_encodings(batches))
        if phase == "recovery":
            assert self.recovered_fusion is not None
            self.recovered_fusion.load_state_dict(self.fusion.state_dict())

    def _available_encodings(self, batches: Iterable[Batch]) -> Iterator[dict[str, Tensor]]:
        """The available encodings of each batch."""
        for batch in batches:
            encodings = self.encode(batch)
            yield {k: e[batch.available[:, i]] for i, (k, e) in enumerate(encodings.items())}

    def _record_cooccurrence(self, batches: Iterable[Batch]) -> None:
        """Record which pairs of modalities occur together in training; others can't be conditioned on each other."""
        names = self.spec.names
        counts = sum(
            ((b.available.float().T @ b.available.float()) for b in batches), torch.zeros(len(names), len(names))
        )
        self.cooccurrence.copy_(counts > 0)
        for i, k in enumerate(names):
            if apart := [names[j] for j in range(len(names)) if j != i and counts[i, j] == 0]:
                log.warning(
                    "%s is never seen together with %s in training: its recovery is unconditional where only these are there",
                    k,
                    ", ".join(apart),
                )

    def losses(self, batch: Batch, phase: Phase, seed: int, *, all_subsets: bool = False) -> dict[str, Loss]:
        """Paper, equation 12: task + 0.1 (score matching + reconstruction), or the terms that a phase trains."""
        assert batch.labels is not None
        if phase == "stage1":
            encodings = self.encode(batch)
            if not all_subsets:
                output = self.fusion(encodings, torch.where(batch.available, AVAILABLE, MISSING))
                return {"task": task_loss(output, batch.labels, self.spec)}
            rows, available = every_subset(batch.available, batch.keys, seed)
            state = torch.where(available, AVAILABLE, MISSING)
            output = self.fusion(encodings, state, rows[:, None].expand_as(state))
            return {"task": task_loss(output, batch.labels[rows], self.spec)}
        with torch.no_grad():
            truth = self.encode(batch, batch.present)
        if phase == "score":
            return self._score_losses(truth, batch.present, batch, seed)
        return self._recovery_losses(truth, batch, phase, seed)

    def _score_losses(
        self, truth: Mapping[str, Tensor], targets: Tensor, batch: Batch, seed: int, weight: float = 1.0
    ) -> dict[str, Loss]:
        """Score matching for each modality over the rows marked in ``targets`` (B, K)."""
        losses = {}
        for i, name in enumerate(self.spec.names):
            rows = targets[:, i].nonzero().squeeze(1)
            if len(rows):
                given = {k: e[rows] for k, e in truth.items()}
                available, keys = self.usable(i, batch.available[rows]), batch.keys[rows]
                each = self.recovery.losses(name, given[name], given, available, keys, seed * len(truth) + i)
                losses[f"score/{name}"] = Loss(each.sum(), float(len(rows)), weight)
            else:
                losses[f"score/{name}"] = Loss(_zero_of(self.recovery), 0.0, weight)
        return losses

    def _recovery_losses(self, truth: Mapping[str, Tensor], batch: Batch, phase: Phase, seed: int) -> dict[str, Loss]:
        """Task and reconstruction on recoveries: from the pool, or newly sampled (``joint``)."""
        assert batch.labels is not None
        auxiliary = self.config.auxiliary_weight
        encodings = {
            k: torch.where(batch.available[:, i, None, None], e, 0.0) for i, (k, e) in enumerate(truth.items())
        }
        if phase == "joint":
            sampled = self._sample_once(encodings, batch.available, batch.keys, seed)
        else:
            training = self.refiners.training
            sampled = self._pool.get(encodings, batch, seed, self._sample_once, training=training)
        losses: dict[str, Loss] = {}
        recovered = {}
        for i, name in enumerate(self.spec.names):
            present = batch.present[:, i]
            if name not in sampled:
                losses[f"reconstruction/{name}"] = Loss(_zero_of(self.refiners[name]), 0.0, auxiliary)
                continue
            rows, x = sampled[name]
            refined = self.refine(name, x)
            recovered[name] = RecoveredEncoding(rows, x[None], refined[None], torch.full_like(rows, x.shape[-1]))
            error = (refined - truth[name][rows]).square().flatten(1).mean(1) * present[rows]
            losses[f"reconstruction/{name}"] = Loss(error.sum(), float(present[rows].sum()), auxiliary)
        output = self.recovered_outputs(encodings, batch.available, recovered, 1)[0]
        losses = {"task": task_loss(output, batch.labels, self.spec), **losses}
        if phase == "joint" and self.config.recovery_kind.learned:
            # Where modalities are missing for good, each present one is learned from the others instead.
            targets = batch.present if self._permanently_missing else batch.present & ~batch.available
            losses |= self._score_losses(truth, targets, batch, seed, auxiliary)
        return losses

    @torch.no_grad()
    def replay(self, phase: Phase, batches: Iterable[tuple[Batch, int]]) -> None:
        """Fill the pool as earlier epochs filled it (see `Model`)."""
        if phase == "recovery":
            with evaluating(self):
                self._pool.replay(batches, self.encode, self._sample_once)

    @torch.no_grad()
    def _sample_once(self, encodings: Mapping[str, Tensor], available: Tensor, keys: Tensor, seed: int) -> Draws:
        """One draw of every missing modality."""
        with evaluating(self.recovery):
            drawn = self.sample(encodings, available, available, keys, 1, seed)
        return {name: (rows, x[0]) for name, (rows, x) in drawn.items()}

    @torch.no_grad()
    def on_phase_end(self, phase: Phase, batches: Iterable[Batch], seed: int) -> None:
        """Choose the weight of the recovery branch for each pattern (`imder.models.imder.branch_weights`)."""
        self._pool.clear()
        if phase != "recovery":
            return
        branch_losses = BranchLosses()
        with evaluating(self):
            for batch in batches:
                assert batch.labels is not None
                everything = batch.available.any(1)
                draws = self.num_samples(SELECTION_DRAWS)
                branch, token, _ = self.branches(self.encode(batch), batch, draws, seed, everything)
                assert token is not None
                branch = branch.mean(0)
                losses = [row_losses(w * branch + (1 - w) * token, batch.labels, self.spec) for w in BRANCH_WEIGHTS]
                branch_losses.add(pattern_bits(batch.available), batch.keys, torch.stack(losses, dim=1))
        for pattern, weight in branch_losses.select().items():
            self.branch_weight[pattern] = weight


def _zero_of(module: nn.Module) -> Tensor:
    """A zero that depends on a module's parameters, so that every process reduces the same gradients."""
    return sum((p.sum() * 0.0 for p in module.parameters()), torch.zeros(()))
