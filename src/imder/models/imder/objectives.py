"""What IMDer learns in each phase: the losses of score matching, refinement and the branches.

Stage 2 uses recoveries as data: no gradient passes through the sampler. `imder.models.imder.training` has the phases.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from imder.models.base import Phase
from imder.models.imder.branch import RecoveryBranch, without_recovery
from imder.models.imder.config import IMDerConfig
from imder.models.imder.network import IMDerNetwork
from imder.models.imder.observed import ObservedEncodings
from imder.models.imder.pool import Draws, RecoveryPool
from imder.models.imder.recovering import Recovered
from imder.models.imder.remaining import Remaining
from imder.models.parts.context import neighbours
from imder.models.parts.losses import Loss, averaged_loss, members_loss, to_prediction
from imder.nn.mode import evaluating
from imder.types import Batch, RecoveredEncoding, Spec


class IMDerObjectives(IMDerNetwork):
    """The network with its losses.

    Args:
        spec: of the corpus.
        config: see `IMDerConfig`.
    """

    def __init__(self, spec: Spec, config: IMDerConfig) -> None:
        super().__init__(spec, config)
        self._pool = RecoveryPool(spec.names, config.cached_draws)
        self._permanently_missing = False

    def branch_of(self, phase: Phase) -> RecoveryBranch:
        """The branch that a phase trains."""
        branch = self.recovery_branch if phase == "recovery" else self.control_branch
        assert branch is not None
        return branch

    @property
    def _pair(self) -> int:
        """Draws that are refined together: two where they are antithetic."""
        return 2 if self.recovery.antithetic and self.config.recovery_kind.sampled else 1

    def losses(
        self, batch: Batch, phase: Phase, seed: int, *, all_subsets: bool = False, self_distillation: float = 0.0
    ) -> dict[str, Loss]:
        """Paper, equation 12: task + 0.1 (score matching + reconstruction), or the terms that a phase trains."""
        assert batch.labels is not None
        if phase == "stage1":
            return super().losses(batch, phase, seed, all_subsets=all_subsets, self_distillation=self_distillation)
        with torch.no_grad():
            given = self.encode(batch, batch.present)
            truth = given if batch.erased is None else self.encode(batch.whole())
            remaining = self.remaining(batch)
        if phase in ("score", "distillation"):
            observed = self.observe(given, batch, remaining)
            return self._score_losses(self.shared(truth), observed, batch.present, batch.keys, seed, phase)
        return self._recovery_losses(truth, given, remaining, batch, phase, seed)

    def _score_losses(
        self,
        truth: Mapping[str, Tensor],
        observed: ObservedEncodings,
        targets: Tensor,
        keys: Tensor,
        seed: int,
        name: Phase = "score",
        weight: float = 1.0,
    ) -> dict[str, Loss]:
        """The recovery's losses for each modality over the rows marked in ``targets`` (B, K).

        ``truth`` holds the encodings of complete samples; ``name`` begins the names of the losses.
        """
        losses = {}
        for i, target in enumerate(self.spec.names):
            rows = targets[:, i].nonzero().squeeze(1)
            if len(rows):
                given = self.usable(target, observed.take(rows))
                each = self.recovery.losses(target, truth[target][rows], given, keys[rows], seed * len(truth) + i)
                losses[f"{name}/{target}"] = Loss(each.sum(), float(len(rows)), weight)
            else:
                losses[f"{name}/{target}"] = Loss(_zero_of(self.recovery), 0.0, weight)
        return losses

    def _recovery_losses(
        self,
        truth: Mapping[str, Tensor],
        given: Mapping[str, Tensor],
        remaining: Mapping[str, Remaining] | None,
        batch: Batch,
        phase: Phase,
        seed: int,
    ) -> dict[str, Loss]:
        """Task and reconstruction on recoveries: from the pool, newly sampled, or zeros (``control``)."""
        assert batch.labels is not None
        encodings = {
            k: torch.where(batch.available[:, i, None, None], e, 0.0) for i, (k, e) in enumerate(given.items())
        }
        visible = batch.available.any(1)
        mask = without_recovery(batch.available, visible)
        whole = self.whole(mask, visible, remaining)
        recovered = {}
        losses: dict[str, Loss] = {}
        if phase == "control":
            recovered = self._zeros(whole)
        else:
            sampled = self._sampled(self.observe(encodings, batch, remaining), whole, batch, phase, seed)
            recovered, losses = self._refined(sampled, self.shared(truth), batch, remaining)
        if phase == "joint":
            output = self.filled_outputs(encodings, batch.available, recovered, 1)[0]
        else:
            near = neighbours(batch, self.context_config)
            with torch.no_grad():
                clips = self.fuse(encodings, batch.available)
            output = self.branch_of(phase)(encodings, mask, recovered, 1, clips, near, whole)[0]
        if self.recovery.training or self.refiners.training or (self.control_branch or self).training:
            task = members_loss(output[:, visible], batch.labels[visible], self.spec)
        else:
            task = averaged_loss(to_prediction(output, self.spec), batch.labels, self.spec, visible)
        losses = {"task": task, **losses}
        if phase == "joint" and self.config.recovery_kind.learned:
            # Where modalities are missing for good, each present one is learned from the others instead.
            targets = batch.present if self._permanently_missing else batch.present & ~batch.available
            observed = self.observe(given, batch, remaining)
            losses |= self._score_losses(
                truth, observed, targets, batch.keys, seed, weight=self.config.auxiliary_weight
            )
        return losses

    def _sampled(self, observed: ObservedEncodings, mask: Tensor, batch: Batch, phase: Phase, seed: int) -> Draws:
        """A pair of draws of every modality outside the mask (`_sample_once`).

        From the pool, which keeps what depends on the sample and its pattern alone: with context, under erased steps and in
        ``joint``, draws are new in every step.
        """
        if phase == "joint" or observed.neighbours is not None or batch.erased is not None:
            return self._sample_once(observed, batch.keys, seed, mask)
        return self._pool.get(observed, batch.keys, seed, self._sample_once, training=self.refiners.training)

    def _refined(
        self,
        sampled: Draws,
        truth: Mapping[str, Tensor],
        batch: Batch,
        remaining: Mapping[str, Remaining] | None,
    ) -> tuple[Recovered, dict[str, Loss]]:
        """The first of each pair of draws, refined, and the reconstruction losses where the truth is present.

        The pair's refined mean is compared with the truth. A single draw's error would teach D_k to shrink draws towards the
        mean of all encodings, and their average with them.
        """
        auxiliary = self.config.auxiliary_weight
        losses: dict[str, Loss] = {}
        recovered = {}
        for i, name in enumerate(self.spec.names):
            present = batch.present[:, i]
            if name not in sampled:
                losses[f"reconstruction/{name}"] = Loss(_zero_of(self.refiners[name]), 0.0, auxiliary)
                continue
            rows, stacked = sampled[name]
            x = stacked.reshape(len(rows), self._pair, -1, stacked.shape[-1]).transpose(0, 1)
            refined = self.refine(name, x, None if remaining is None else remaining[name].take(rows).unknown)
            recovered[name] = RecoveredEncoding(rows, x[:1], refined[:1], torch.full_like(rows, x.shape[-1]))
            error = (refined.mean(0) - truth[name][rows]).square().flatten(1).mean(1) * present[rows]
            losses[f"reconstruction/{name}"] = Loss(error.sum(), float(present[rows].sum()), auxiliary)
        return recovered, losses

    def _zeros(self, mask: Tensor) -> Recovered:
        """Zeros in place of one recovery of every modality outside the mask ``(B, K)``: what the control reads."""
        out = {}
        for i, name in enumerate(self.spec.names):
            rows = (~mask[:, i]).nonzero().squeeze(1)
            if len(rows):
                zeros = torch.zeros(1, len(rows), self.config.encoder.width, self.steps[name], device=mask.device)
                out[name] = RecoveredEncoding(rows, zeros, zeros, torch.full_like(rows, self.steps[name]))
        return out

    @torch.no_grad()
    def _sample_once(self, observed: ObservedEncodings, keys: Tensor, seed: int, mask: Tensor | None = None) -> Draws:
        """A pair of draws of every modality outside ``mask`` (B, K), by default of every unavailable one.

        The pair's encodings lie side by side, ``(R, 2 width, steps)``; a kind that has no pairs has one.
        """
        with evaluating(self.recovery):
            drawn = self.sample(observed, observed.available if mask is None else mask, keys, self._pair, seed)
        return {name: (rows, x.transpose(0, 1).flatten(1, 2)) for name, (rows, x) in drawn.items()}


def _zero_of(module: nn.Module) -> Tensor:
    """A zero that depends on a module's parameters, so that every process reduces the same gradients."""
    return sum((p.sum() * 0.0 for p in module.parameters()), torch.zeros(()))
