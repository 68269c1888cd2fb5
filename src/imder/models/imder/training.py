"""IMDer: how the network of `imder.models.imder.network` learns.

Stage 1 trains encoders and fusion. Stage 2 of the published presets trains everything else at once (``joint``), sampling in
every step. Stage 2 of ``fast`` is two phases, since no gradient passes through the sampler: score networks learn without
any sampling (``score``), then refinement and the second fusion learn from recoveries that are drawn once (``recovery``).
At the end, how far each pattern of availability trusts recovery is chosen on validation.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Self

import torch
from torch import Tensor, nn

from imder.missingness.subsets import every_subset, pattern_bits
from imder.models.base import Phase, evaluating
from imder.models.imder.network import IMDerConfig, IMDerNetwork
from imder.models.imder.pool import Drawn, RecoveryCache
from imder.models.imder.recovery import FIXED
from imder.models.parts.encoder import fit_features
from imder.models.parts.fusions.pooled import AVAILABLE, MISSING
from imder.models.parts.losses import Loss, init_head_bias, row_losses, task_loss
from imder.types import Batch, ImderError, RecoveredEncoding, Spec

log = logging.getLogger(__name__)

BRANCH_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
FINISH_DRAWS = 4  # recoveries from which the weights of the branches are chosen


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
        self._kept = {True: RecoveryCache(), False: RecoveryCache()}  # by whether it is training or validation
        self._pool_seed = 0
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
        """Two branches learn score networks first, then use them; the published presets do both at once.

        A recovery that has nothing to learn has no ``score``.
        """
        if not config.two_branches:
            return ("stage1", "joint")
        return ("stage1", "recovery") if config.recovery.kind in FIXED else ("stage1", "score", "recovery")

    def trainable_modules(self, phase: Phase) -> list[nn.Module]:
        """Encoders learn in stage 1 only."""
        if phase == "stage1":
            return [self.encoders, self.fusion]
        if phase == "score":
            return [self.recovery]
        if phase == "recovery":
            return [self.refiners, self.recovered_fusion]
        return [self.recovery, self.refiners, self.fusion]

    def init_output_bias(self, labels: Tensor) -> None:
        """The fusion's head begins at the constant baseline."""
        head = self.fusion.head if self.config.two_branches else self.fusion.out
        assert isinstance(head, nn.Linear)
        init_head_bias(head, labels, self.spec)

    @torch.no_grad()
    def on_phase_start(
        self, phase: Phase, batches: Iterable[Batch], seed: int, *, permanently_missing: bool = False
    ) -> None:
        """Feature statistics before stage 1, encoding statistics before stage 2, the second branch before it learns."""
        self._forget()
        self._pool_seed = seed * self.config.cached_draws
        self._permanently_missing = permanently_missing
        if phase == "stage1" and self.config.encoder.standardize:
            fit_features(self.encoders, batches)
        kind = self.config.recovery.kind
        if phase in ("recovery" if kind in FIXED else "score", "joint"):
            with evaluating(self):
                if kind not in (*FIXED, "unconditional"):
                    self._record_cooccurrence(batches)
                self.recovery.fit(self._encodings(batches))
        if phase == "recovery":
            self.recovered_fusion.load_state_dict(self.fusion.state_dict())

    def _encodings(self, batches: Iterable[Batch]) -> Iterator[dict[str, Tensor]]:
        """The available encodings of each batch."""
        for batch in batches:
            encodings = self.encode(batch)
            yield {k: e[batch.available[:, i]] for i, (k, e) in enumerate(encodings.items())}

    def _record_cooccurrence(self, batches: Iterable[Batch]) -> None:
        """Note which pairs of modalities training ever sees together; the others can't be conditioned on each other."""
        names = self.spec.names
        together = sum(
            ((b.available.float().T @ b.available.float()) for b in batches), torch.zeros(len(names), len(names))
        )
        self.cooccurrence.copy_(together > 0)
        for i, k in enumerate(names):
            if apart := [names[j] for j in range(len(names)) if j != i and together[i, j] == 0]:
                log.warning(
                    "%s is never seen together with %s in training: its recovery is unconditional where only these are there",
                    k,
                    ", ".join(apart),
                )

    def losses(self, batch: Batch, phase: Phase, seed: int, *, all_subsets: bool = False) -> dict[str, Loss]:
        """Paper, equation 12: task + 0.1 (score matching + reconstruction), or the part that a phase trains."""
        assert batch.labels is not None
        if phase == "stage1":
            encodings = self.encode(batch)
            if not all_subsets:
                output = self._fuse(self.fusion, encodings, torch.where(batch.available, AVAILABLE, MISSING))
                return {"task": task_loss(output, batch.labels, self.spec)}
            rows, available = every_subset(batch.available, batch.keys, seed)
            output = self._fuse(self.fusion, encodings, torch.where(available, AVAILABLE, MISSING), rows)
            return {"task": task_loss(output, batch.labels[rows], self.spec)}
        with torch.no_grad():
            truth = self.encode(batch, batch.present)
        if phase == "score":
            return self._score_losses(truth, batch.present, batch, seed)
        return self._recovery_losses(truth, batch, phase, seed)

    def _score_losses(
        self, truth: dict[str, Tensor], targets: Tensor, batch: Batch, seed: int, weight: float = 1.0
    ) -> dict[str, Loss]:
        """Score matching for each modality over the rows marked in ``targets`` (B, K)."""
        losses = {}
        for i, name in enumerate(self.spec.names):
            rows = targets[:, i].nonzero().squeeze(1)
            if len(rows):
                given = {k: e[rows] for k, e in truth.items()}
                each = self.recovery.losses(
                    name,
                    given[name],
                    given,
                    self._usable(i, batch.available[rows]),
                    batch.keys[rows],
                    seed * len(truth) + i,
                )
                losses[f"score/{name}"] = Loss(each.sum(), float(len(rows)), weight)
            else:
                losses[f"score/{name}"] = Loss(_nothing(self.recovery), 0.0, weight)
        return losses

    def _recovery_losses(self, truth: dict[str, Tensor], batch: Batch, phase: Phase, seed: int) -> dict[str, Loss]:
        """Task and reconstruction on recoveries: from the pool, or fresh (joint)."""
        assert batch.labels is not None
        auxiliary = self.config.auxiliary_weight
        encodings = {
            k: torch.where(batch.available[:, i, None, None], e, 0.0) for i, (k, e) in enumerate(truth.items())
        }
        if phase == "joint":
            sampled = self._draw(encodings, batch.available, batch.keys, seed)
        else:
            sampled = self._remembered(encodings, batch, seed, training=self.refiners.training)
        losses: dict[str, Loss] = {}
        recovered = {}
        for i, name in enumerate(self.spec.names):
            known = batch.present[:, i]
            if name not in sampled:
                losses[f"reconstruction/{name}"] = Loss(_nothing(self.refiners[name]), 0.0, auxiliary)
                continue
            rows, x = sampled[name]
            refined = self.refine(name, x)
            recovered[name] = RecoveredEncoding(rows, x[None], refined[None], torch.full_like(rows, x.shape[-1]))
            error = (refined - truth[name][rows]).square().flatten(1).mean(1) * known[rows]
            losses[f"reconstruction/{name}"] = Loss(error.sum(), float(known[rows].sum()), auxiliary)
        output = self.recovered_outputs(encodings, batch.available, recovered, 1)[0]
        losses = {"task": task_loss(output, batch.labels, self.spec), **losses}
        if phase == "joint" and self.config.recovery.kind not in FIXED:
            # A strict run never knows what it dropped: then each present modality is learned from the others instead.
            targets = batch.present if self._permanently_missing else batch.present & ~batch.available
            losses |= self._score_losses(truth, targets, batch, seed, auxiliary)
        return losses

    def _remembered(self, encodings: dict[str, Tensor], batch: Batch, seed: int, *, training: bool) -> Drawn:
        """Recoveries from the pool, drawn if they aren't there."""
        slot = self._pool_seed + seed % self.config.cached_draws
        if not training:  # validation has draws of its own: an id may stand in both splits
            slot = -1 - slot

        def draw(rows: Tensor) -> Drawn:
            given = {k: e[rows] for k, e in encodings.items()}
            return self._draw(given, batch.available[rows], batch.keys[rows], slot)

        return self._kept[training].get(batch.keys, batch.available, slot, draw, self.spec.names)

    @torch.no_grad()
    def replay(self, phase: Phase, batches: Iterable[tuple[Batch, int]]) -> None:
        """Fill the pool as the batches of earlier epochs filled it: to the last bit, since they are drawn as they were."""
        if phase == "recovery":
            with evaluating(self):
                for batch, seed in batches:
                    self._remembered(self.encode(batch), batch, seed, training=True)

    def _forget(self) -> None:
        for cache in self._kept.values():
            cache.clear()

    @torch.no_grad()
    def _draw(self, encodings: dict[str, Tensor], available: Tensor, keys: Tensor, seed: int) -> Drawn:
        """One draw of whatever is missing: rows ``(R,)`` and encodings ``(R, width, steps)``."""
        with evaluating(self.recovery):
            drawn = self._sample(encodings, available, available, keys, 1, seed)
        return {name: (rows, x[0]) for name, (rows, x) in drawn.items()}

    @torch.no_grad()
    def on_phase_end(self, phase: Phase, batches: Iterable[Batch], seed: int) -> None:
        """Choose how much each pattern trusts recovery (`select_branch_weight`)."""
        self._forget()
        if phase != "recovery":
            return
        found: dict[int, dict[int, list[Tensor]]] = {}  # by pattern and sample: one may meet a pattern in several draws
        draws = self._distinct(FINISH_DRAWS)
        with evaluating(self):
            for batch in batches:
                assert batch.labels is not None
                encodings = self.encode(batch)
                branch, token = self._branches(encodings, batch, draws, seed, batch.available.any(1))[:2]
                assert token is not None
                branch = branch.mean(0)
                each = torch.stack(
                    [row_losses(w * branch + (1 - w) * token, batch.labels, self.spec) for w in BRANCH_WEIGHTS]
                )
                for pattern, key, column in zip(
                    pattern_bits(batch.available).tolist(), batch.keys.tolist(), each.T, strict=True
                ):
                    found.setdefault(pattern, {}).setdefault(key, []).append(column)
        for pattern, samples in found.items():
            self.branch_weight[pattern] = select_branch_weight(
                torch.stack([torch.stack(met).mean(0) for met in samples.values()])
            )


def select_branch_weight(losses: Tensor) -> float:
    """How much a pattern trusts recovery, by its validation losses ``(N, len(BRANCH_WEIGHTS))``: samples, and each weight.

    The weight of least loss (of ties their mean), if that is better than no trust by more than a standard error of the paired
    difference; else 0. Validation is small, and a pattern may have a few dozen samples in it: the least of five noisy sums is
    often an extreme that does harm, and where nothing speaks for a recovery the prediction does without
    (the one-standard-error rule, Breiman et al. 1984, towards the simpler model).

    >>> losses = torch.tensor([[1.0, 0.9, 0.8, 0.7, 0.6]] * 10)
    >>> select_branch_weight(losses), select_branch_weight(losses[:1])
    (1.0, 0.0)
    """
    total = losses.sum(0)
    best = [i for i in range(len(BRANCH_WEIGHTS)) if total[i] <= total.min()]
    gain = (losses[:, :1] - losses[:, best]).mean(1)  # BRANCH_WEIGHTS begins with 0
    if len(gain) < 2 or gain.mean() <= gain.std() / len(gain) ** 0.5:
        return 0.0
    return sum(BRANCH_WEIGHTS[i] for i in best) / len(best)


def _nothing(module: nn.Module) -> Tensor:
    """A zero that depends on a module's parameters, so that every process reduces the same gradients."""
    return sum((p.sum() * 0.0 for p in module.parameters()), torch.zeros(()))


__all__ = ["IMDer", "IMDerConfig"]
