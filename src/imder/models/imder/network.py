"""IMDer: sample every missing modality given the available ones, refine it, fuse all, predict.

    e_k = E_k(x_k)                    for each available modality      (`imder.models.parts.encoder`)
    s_k ~ p(e_k | available e)        for each missing one             (`imder.models.imder.recovery`)
    r_k = D_k(s_k)                    refined                          (`imder.nn.rcab`)
    y   = fusion(e or r of every k)                                    (`imder.models.parts.fusions`)

``fast`` has two branches. The *missing-token* branch is stage 1's fusion and context, trained on every pattern; it never
reads a recovery. The *recovery* branch starts as its copy and learns, in stage 2, to use recovered encodings and their
state; the *control* branch learns the same from zeros in place of recoveries. The prediction averages the recovery branch
over several recoveries, then both branches by a weight that is chosen for each pattern of availability on validation, where
recoveries must beat the control; weight 0 turns recovery off. The paper's and the official presets have one fusion.

With several members, diffusion works on the encoding of the first; each member's recovery branch reads recoveries with a
reader of its own. With context, the neighbours' encodings are part of the condition, the missing modality's own included.

With ``recovery.inpaint``, a modality some of whose steps are erased is recovered too, given what remains of it. The recovery
branch then reads both the available encoding, in which erased steps are zeros, and its recovery.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from imder.missingness.patterns import pattern_name, patterns
from imder.missingness.subsets import check_available, pattern_bits
from imder.models.imder.branch import RecoveryBranch, without_recovery
from imder.models.imder.config import IMDerConfig
from imder.models.imder.recovering import Recovered, RecoveringSystem
from imder.models.imder.recovery_r2 import RecoveryR2
from imder.models.parts.context import neighbours
from imder.models.parts.fusions.base import AVAILABLE, RECOVERED
from imder.models.parts.fusions.pooled import PooledFusion
from imder.models.parts.losses import is_labelled, row_losses, to_prediction
from imder.nn.mode import evaluating
from imder.types import Batch, ImderError, Output, Spec, check_batch


class IMDerNetwork(RecoveringSystem):
    """The network and its use; `imder.models.imder.training` trains it.

    Args:
        spec: of the corpus.
        config: see `IMDerConfig`.
    """

    config: IMDerConfig
    branch_weight: Tensor

    def __init__(self, spec: Spec, config: IMDerConfig) -> None:
        super().__init__(spec, config)
        self.recovery_branch = self._new_branch() if config.two_branches else None
        self.control_branch = self._new_branch() if config.two_branches else None
        self.register_buffer("branch_weight", torch.full((2 ** len(self.steps),), 0.0 if config.two_branches else 1.0))

    def _new_branch(self) -> RecoveryBranch:
        config = self.config
        fusion = PooledFusion(
            self.steps, config.encoder.width, self.spec.outputs, config.fusion, self.members, reads_recoveries=True
        )
        return RecoveryBranch(fusion, self.new_context())

    def filled_outputs(
        self, encodings: Mapping[str, Tensor], available: Tensor, recovered: Recovered, draws: int
    ) -> Tensor:
        """The only fusion's outputs ``(S, M, B, O)`` where there is one branch; rows that lack nothing are computed once."""
        incomplete = (~available).any(1)
        out = encodings[self.spec.names[0]].new_zeros(draws, len(available), self.spec.outputs)
        whole = (~incomplete).nonzero().squeeze(1)
        if len(whole):
            state = torch.full_like(available[whole], AVAILABLE, dtype=torch.int64)
            out[:, whole] = self.fusion({k: e[whole] for k, e in encodings.items()}, state).to(out.dtype)
        rows = incomplete.nonzero().squeeze(1)
        if len(rows):
            filled = {}
            for name, encoding in encodings.items():
                full = encoding.expand(draws, *encoding.shape)
                if name in recovered:
                    full = full.index_copy(1, recovered[name].rows, recovered[name].refined.to(full.dtype))
                filled[name] = full[:, rows].flatten(0, 1)
            state = torch.where(available[rows], AVAILABLE, RECOVERED).repeat(draws, 1)
            out[:, rows] = self.fusion(filled, state).reshape(draws, len(rows), -1).to(out.dtype)
        return out[:, None]

    def branches(
        self, encodings: Mapping[str, Tensor], batch: Batch, draws: int, seed: int, recovering: Tensor
    ) -> tuple[Tensor, Tensor | None, Recovered]:
        """Predictions of both branches.

        Args:
            encodings: of the available modalities, ``(B, members * width, steps_k)``.
            batch: B rows.
            draws: recoveries S of each row.
            seed: of the noise.
            recovering: ``(B,)`` bool, the rows to recover; the recovery branch's output of the others is meaningless.

        Returns:
            The recovery branch's ``(S, M, B, ...)``, the missing-token branch's ``(M, B, ...)`` (None where there is one
            branch only), and the recoveries.
        """
        mask = without_recovery(batch.available, recovering)
        remaining = self.remaining(batch) if bool(recovering.any()) else None
        whole = self.whole(mask, recovering, remaining)
        recovered = self._recover(encodings, whole, batch, draws, seed, remaining)
        if self.recovery_branch is None:
            return to_prediction(self.filled_outputs(encodings, mask, recovered, draws), self.spec), None, recovered
        near = neighbours(batch, self.context_config)
        clips = self.fuse(encodings, batch.available)
        token = to_prediction(self.in_context(clips, clips, near), self.spec)
        if not bool(recovering.any()):
            return token.expand(draws, *token.shape), token, recovered
        outputs = self.recovery_branch(encodings, mask, recovered, draws, clips, near, whole)
        return to_prediction(outputs, self.spec), token, recovered

    # Use.

    @torch.no_grad()
    def recovery_r2(self, batches: Iterable[Batch], seed: int = 0) -> dict[str, float]:
        """From the mean of `num_samples` refined draws (see `Model`)."""
        names, sums = self.spec.names, RecoveryR2()
        draws = self.config.num_samples if self.config.recovery_kind.sampled else 1
        with evaluating(self):
            for batch in batches:
                truth = self.shared(self.encode(batch, batch.present))
                hidden = batch.present & ~batch.available & batch.available.any(1)[:, None]
                recovered = self._recover(self.encode(batch), ~hidden, batch, draws, seed)
                for name, recovery in recovered.items():
                    rows = recovery.rows
                    sums.add(name, names, batch.available[rows], recovery.refined.mean(0), truth[name][rows])
        return sums.result()

    def recovery_cost(self) -> float:
        """Draws x evaluations x weights of a modality's networks (see `Model`)."""
        weights = sum(p.numel() for p in self.recovery.parameters()) / len(self.steps)
        sampled = self.config.recovery_kind.sampled
        return weights * (self.config.num_samples * self.recovery.evaluations if sampled else 1)

    def recovery_weights(self) -> dict[str, float]:
        """The weight of the recovery branch for each pattern of availability (see `Model`)."""
        names = self.spec.names
        masks = torch.tensor(patterns(len(names)))
        weights = self._entering_weight(masks.to(self.device)).tolist()
        return {pattern_name(p, names): w for p, w in zip(masks.tolist(), weights, strict=True)}

    def _entering_weight(self, available: Tensor) -> Tensor:
        """``(B,)``: the weight of the recovery branch under masks ``(B, K)``.

        Of a row that lacks nothing, the recovery branch is a second fusion of what is available, without any recovery. A
        model with one branch has that fusion anyway: the weight counts where a recovery enters it.
        """
        weight = self.branch_weight[pattern_bits(available)]
        return weight if self.config.two_branches else weight * (~available).any(1)

    def forward(self, batch: Batch, samples: int | None = None, seed: int = 0) -> Output:
        """Predict; differentiable except for the sampling. With labels, ``losses["task"]`` is given too.

        A row whose pattern has weight 0 isn't recovered: ``recovered`` holds only what entered the predictions.
        """
        check_batch(batch)
        if batch.dialogue is None:
            check_available(batch.available)
        weight = self.branch_weight[pattern_bits(batch.available)]
        draws = self.num_samples(samples)
        spread, token, recovered = self.branches(self.encode(batch), batch, draws, seed, weight > 0)
        if token is not None:
            by_row = weight.reshape(-1, *[1] * (spread.ndim - 3))
            spread = by_row * spread + (1 - by_row) * token
        spread = spread.flatten(0, 1)
        prediction = spread.mean(0)
        losses = {}
        if batch.labels is not None:
            total = row_losses(prediction, batch.labels, self.spec).sum()
            losses["task"] = total / is_labelled(batch.labels, self.spec).sum().clamp(min=1)
        return Output(prediction, spread, self._entering_weight(batch.available), recovered, losses)

    @torch.no_grad()
    def predict(self, batch: Batch, *, samples: int | None = None, seed: int = 0) -> Output:
        """`forward` without gradients, in evaluation mode (see `Model.predict`)."""
        with evaluating(self):
            return self.forward(batch, samples, seed)

    def clip_states(self, batch: Batch) -> dict[str, Tensor] | None:
        """None where recoveries enter predictions: they depend on the neighbours (`imder.models.clip_states`)."""
        return None if bool((self.branch_weight > 0).any()) else super().clip_states(batch)

    def predict_states(self, states: dict[str, Tensor], batch: Batch) -> Output:
        """See `FusionSystem`; the weight of recovery is 0 everywhere."""
        return replace(super().predict_states(states, batch), recovery_weight=self._entering_weight(batch.available))

    def num_samples(self, samples: int | None) -> int:
        """Recoveries for each prediction: 1 where all would be equal; ``samples`` None for the configured number."""
        count = self.config.num_samples if samples is None else samples
        if count < 1:
            raise ImderError(f"samples must be at least 1, got {count}")
        recovers = self.config.recovery_kind.sampled and bool((self.branch_weight > 0).any())
        return count if recovers else 1
