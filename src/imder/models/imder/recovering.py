"""Encoders, and the recovery of what is missing: sample it given the available encodings, then refine the draws.

A modality is recovered where it is missing and, with ``recovery.inpaint``, where steps of it are erased
(`imder.models.imder.remaining`): then its untouched steps are kept, in every draw. Where the encodings of other modalities are
conditions, their erased frames are the mean of the remaining ones, so that they are like encodings of complete sequences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from imder.models.fusion_system import FusionSystem
from imder.models.imder.config import IMDerConfig
from imder.models.imder.neighbour_condition import NeighbourEncodings
from imder.models.imder.observed import ObservedEncodings
from imder.models.imder.recoveries import build_recovery
from imder.models.imder.remaining import Remaining, remaining_of
from imder.models.parts.context import neighbours
from imder.nn.mode import evaluating
from imder.nn.module_dict import ModuleDict
from imder.nn.rcab import ResidualChannelAttention
from imder.types import Batch, ImderError, RecoveredEncoding, Spec, check_batch

Recovered = dict[str, RecoveredEncoding]
"""For each modality that some row lacks, in whole or in part, its recovery."""


class RecoveringSystem(FusionSystem):
    """A `FusionSystem` that recovers what is missing.

    Args:
        spec: of the corpus.
        config: see `IMDerConfig`.
    """

    config: IMDerConfig
    cooccurrence: Tensor

    def __init__(self, spec: Spec, config: IMDerConfig) -> None:
        if config.encoder.time_grid != "native" and len(spec.names) > 6:
            raise ImderError(
                f"recovery.condition 'channels' has a layer for each subset: K = {len(spec.names)} is too many, use fast"
            )
        # Encoders, fusion and context first: with one seed, they then start from the weights that `late-fusion` starts from.
        super().__init__(spec, config)
        width, refinement = config.encoder.width, config.refinement
        self.recovery = build_recovery(self.steps, width, config.recovery, config.context.offsets)
        self.refiners = ModuleDict[ResidualChannelAttention](
            {
                k: ResidualChannelAttention(width, refinement.channels, refinement.blocks, refinement.reduction)
                for k in self.steps
            }
        )
        if config.two_branches:
            for refiner in self.refiners.values():
                nn.init.zeros_(refiner.contract.weight)
                if refiner.contract.bias is not None:
                    nn.init.zeros_(refiner.contract.bias)
        self.register_buffer("cooccurrence", torch.ones(len(self.steps), len(self.steps), dtype=torch.bool))

    def shared(self, encodings: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The encodings ``(B, width, steps_k)`` in which diffusion works: those of the first member."""
        return {k: e[:, : self.config.encoder.width] for k, e in encodings.items()}

    def refine(self, name: str, sampled: Tensor, unknown: Tensor | None = None) -> Tensor:
        """D_k of sampled encodings ``(..., R, width, steps)``; with two branches what D_k adds to them, at first nothing.

        Steps that ``unknown`` (R, steps) doesn't mark stay as they are.
        """
        refined: Tensor = self.refiners[name](sampled.flatten(0, -3)).reshape(sampled.shape)
        if unknown is not None:
            refined = torch.where(unknown[:, None], refined, 0.0 if self.config.two_branches else sampled)
        return sampled + refined if self.config.two_branches else refined

    @property
    def recovers_steps(self) -> bool:
        """With ``recovery.inpaint`` (see `Model`)."""
        return self.config.recovery.inpaint

    def remaining(self, batch: Batch) -> dict[str, Remaining] | None:
        """What remains of modalities with erased steps; None where no step is erased, or erased steps aren't recovered."""
        if not self.recovers_steps:
            return None
        return remaining_of(self.encoders, batch, self.config.encoder.width)

    def observe(
        self, encodings: Mapping[str, Tensor], batch: Batch, remaining: Mapping[str, Remaining] | None = None
    ) -> ObservedEncodings:
        """What recovery reads of a batch, with its neighbours under their own availability.

        Args:
            encodings: of the available modalities, ``(B, members * width, steps_k)``.
            batch: B rows.
            remaining: of modalities with erased steps, whose erased frames are read as the mean of the remaining ones.
        """
        shared = self.shared(encodings)
        if remaining is not None:
            shared = {
                k: torch.where(remaining[k].partial[:, None, None], remaining[k].averaged, e) for k, e in shared.items()
            }
        near = neighbours(batch, self.context_config)
        beside = None if near is None else NeighbourEncodings.of(shared, batch.available, near)
        return ObservedEncodings(shared, batch.available, beside, remaining)

    def whole(self, mask: Tensor, recovering: Tensor, remaining: Mapping[str, Remaining] | None) -> Tensor:
        """The cells of ``mask`` (B, K) that aren't there in part, in the rows ``recovering`` (B,)."""
        if remaining is None:
            return mask
        partial = torch.stack([remaining[k].partial for k in self.spec.names], dim=1)
        return mask & ~(partial & recovering[:, None])

    def sample(
        self, observed: ObservedEncodings, mask: Tensor, keys: Tensor, draws: int, seed: int
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Sample every modality that some row lacks, in whole or in part, and that isn't marked in ``mask`` (B, K).

        Args:
            observed: B rows (`observe`).
            mask: ``(B, K)`` bool.
            keys: ``(B,)``.
            draws: S.
            seed: of the noise.

        Returns:
            For each of them the rows ``(R,)`` and the draws ``(S, R, width, steps)``.
        """
        out = {}
        for i, name in enumerate(self.spec.names):
            rows = (~mask[:, i]).nonzero().squeeze(1)
            if len(rows):
                given = self.usable(name, observed.take(rows))
                drawn = self.recovery.sample(name, given, keys[rows], draws=draws, seed=seed)
                own = given.remaining_of(name)
                out[name] = (rows, drawn if own is None else torch.where(own.unknown[:, None], drawn, own.averaged))
        return out

    def usable(self, target: str, observed: ObservedEncodings) -> ObservedEncodings:
        """The same without the modalities that never occur together with the target in training."""
        cooccurring = self.cooccurrence[self.spec.names.index(target)]
        return replace(observed, available=observed.available & cooccurring)

    def _recover(
        self,
        encodings: Mapping[str, Tensor],
        mask: Tensor,
        batch: Batch,
        draws: int,
        seed: int,
        remaining: Mapping[str, Remaining] | None = None,
    ) -> Recovered:
        """The draws of `sample`, refined."""
        drawn = self.sample(self.observe(encodings, batch, remaining), mask, batch.keys, draws, seed)
        recovered = {}
        for k, (rows, x) in drawn.items():
            unknown = None if remaining is None else remaining[k].take(rows).unknown
            recovered[k] = RecoveredEncoding(rows, x, self.refine(k, x, unknown), torch.full_like(rows, x.shape[-1]))
        return recovered

    @torch.no_grad()
    def recover(self, batch: Batch, samples: int = 1, seed: int = 0) -> Recovered:
        """Recover every missing modality of every row, with ``inpaint`` erased steps too (no gradients, evaluation mode).

        Args:
            batch: B rows.
            samples: recoveries S of each.
            seed: of the noise.
        """
        check_batch(batch, "recover")
        with evaluating(self):
            remaining = self.remaining(batch)
            mask = self.whole(batch.available, batch.available.any(1), remaining)
            return self._recover(self.encode(batch), mask, batch, samples, seed, remaining)
