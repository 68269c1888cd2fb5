"""IMDer: sample every missing modality given the available ones, refine it, fuse all, predict.

    e_k = E_k(x_k)                    for each available modality      (`imder.models.parts.encoder`)
    s_k ~ p(e_k | available e)        for each missing one             (`imder.models.imder.recovery`)
    r_k = D_k(s_k)                    refined                          (`imder.nn.rcab`)
    y   = fusion(e or r of every k)                                    (`imder.models.parts.fusions`)

``fast`` has two branches. The *missing-token* branch is stage 1's fusion, trained on every pattern; it never reads a
recovery. The *recovery* branch starts as its copy and learns, in stage 2, to use recovered encodings and their state. The
prediction averages the recovery branch over several recoveries, then both branches by a weight that is chosen for each
pattern of availability on validation; weight 0 turns recovery off. The paper's and the official presets have one fusion.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from imder.missingness.patterns import pattern_name, patterns
from imder.missingness.subsets import check_available, pattern_bits
from imder.models.base import Model, check_batch, evaluating
from imder.models.imder.config import IMDerConfig
from imder.models.imder.recoveries import build_recovery
from imder.models.parts.encoder import Encoder, encode_masked, encoded_steps
from imder.models.parts.fusions import build_fusion
from imder.models.parts.fusions.base import AVAILABLE, MISSING, RECOVERED, Fusion
from imder.models.parts.losses import is_labelled, row_losses, to_prediction
from imder.nn.module_dict import ModuleDict
from imder.nn.rcab import ResidualChannelAttention
from imder.types import Batch, ImderError, Output, RecoveredEncoding, Spec

Recovered = dict[str, RecoveredEncoding]
"""For each modality that some row lacks, its recovery."""


class IMDerNetwork(Model):
    """The network and its use; `imder.models.imder.training` trains it.

    Args:
        spec: of the corpus.
        config: see `IMDerConfig`.
    """

    config: IMDerConfig
    branch_weight: Tensor
    cooccurrence: Tensor

    def __init__(self, spec: Spec, config: IMDerConfig) -> None:
        super().__init__(spec, config)
        if config.encoder.time_grid != "native" and len(spec.names) > 6:
            raise ImderError(
                f"recovery.condition 'channels' has a layer for each subset: K = {len(spec.names)} is too many, use fast"
            )
        width, refinement = config.encoder.width, config.refinement
        self.encoders = ModuleDict[Encoder]({m.name: Encoder(m, config.encoder) for m in spec.modalities})
        steps = {m.name: encoded_steps(m, config.encoder) for m in spec.modalities}
        # Encoders and fusion first: with one seed, they then start from the weights that `late-fusion` starts from.
        self.fusion = build_fusion(steps, width, spec.outputs, config.fusion)
        self.recovery = build_recovery(steps, width, config.recovery)
        self.refiners = ModuleDict[ResidualChannelAttention](
            {
                k: ResidualChannelAttention(width, refinement.channels, refinement.blocks, refinement.reduction)
                for k in steps
            }
        )
        self.recovered_fusion: Fusion | None = (
            build_fusion(steps, width, spec.outputs, config.fusion) if config.two_branches else None
        )
        self.register_buffer("branch_weight", torch.full((2 ** len(steps),), 0.5 if config.two_branches else 1.0))
        self.register_buffer("cooccurrence", torch.ones(len(steps), len(steps), dtype=torch.bool))

    # Parts.

    def encode(self, batch: Batch, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Encodings ``(B, width, steps_k)`` of the available modalities, zero elsewhere.

        ``mask`` (B, K) encodes other modalities than the available ones (training only).
        """
        return encode_masked(self.encoders, batch, batch.available if mask is None else mask)

    def refine(self, name: str, sampled: Tensor) -> Tensor:
        """D_k of sampled encodings ``(..., width, steps)``."""
        refined: Tensor = self.refiners[name](sampled.flatten(0, -3))
        return refined.reshape(sampled.shape)

    def sample(
        self, encodings: Mapping[str, Tensor], mask: Tensor, available: Tensor, keys: Tensor, draws: int, seed: int
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Sample every modality that some row lacks and that isn't marked in ``mask`` (B, K).

        Returns:
            For each of them the rows ``(R,)`` and the draws ``(S, R, width, steps)``.
        """
        out = {}
        for i, name in enumerate(self.spec.names):
            rows = (~mask[:, i]).nonzero().squeeze(1)
            if len(rows):
                given = {k: e[rows] for k, e in encodings.items()}
                usable = self.usable(i, available[rows])
                out[name] = (rows, self.recovery.sample(name, given, usable, keys[rows], draws=draws, seed=seed))
        return out

    def usable(self, target: int, available: Tensor) -> Tensor:
        """``available`` (B, K) without the modalities that never occur together with the target in training."""
        return available & self.cooccurrence[target]

    def recovered_outputs(
        self, encodings: Mapping[str, Tensor], available: Tensor, recovered: Recovered, draws: int
    ) -> Tensor:
        """The recovery branch's outputs ``(S, B, O)``; rows that lack nothing are computed once."""
        incomplete = (~available).any(1)
        out = encodings[self.spec.names[0]].new_zeros(draws, len(available), self.spec.outputs)
        branch = self.fusion if self.recovered_fusion is None else self.recovered_fusion
        whole = (~incomplete).nonzero().squeeze(1)
        if len(whole):
            state = torch.full_like(available[whole], AVAILABLE, dtype=torch.int64)
            out[:, whole] = branch({k: e[whole] for k, e in encodings.items()}, state).to(out.dtype)
        rows = incomplete.nonzero().squeeze(1)
        if len(rows):
            filled = {}
            for name, encoding in encodings.items():
                full = encoding.expand(draws, *encoding.shape)
                if name in recovered:
                    full = full.index_copy(1, recovered[name].rows, recovered[name].refined.to(full.dtype))
                filled[name] = full[:, rows].flatten(0, 1)
            state = torch.where(available[rows], AVAILABLE, RECOVERED).repeat(draws, 1)
            out[:, rows] = branch(filled, state).reshape(draws, len(rows), -1).to(out.dtype)
        return out

    def branches(
        self, encodings: Mapping[str, Tensor], batch: Batch, draws: int, seed: int, recovering: Tensor
    ) -> tuple[Tensor, Tensor | None, Recovered]:
        """Predictions of both branches.

        Args:
            encodings: of the available modalities, ``(B, width, steps_k)``.
            batch: B rows.
            draws: recoveries S of each row.
            seed: of the noise.
            recovering: ``(B,)`` bool, the rows to recover; the recovery branch's output of the others is meaningless.

        Returns:
            The recovery branch's ``(S, B, ...)``, the missing-token branch's ``(B, ...)`` (None where there is one branch
            only), and the recoveries.
        """
        mask = batch.available | ~recovering[:, None]
        recovered = self._recover(encodings, mask, batch, draws, seed)
        spread = to_prediction(self.recovered_outputs(encodings, mask, recovered, draws), self.spec)
        if self.recovered_fusion is None:
            return spread, None, recovered
        token = self.fusion(encodings, torch.where(batch.available, AVAILABLE, MISSING))
        return spread, to_prediction(token, self.spec), recovered

    def _recover(self, encodings: Mapping[str, Tensor], mask: Tensor, batch: Batch, draws: int, seed: int) -> Recovered:
        """The draws of `sample`, refined."""
        drawn = self.sample(encodings, mask, batch.available, batch.keys, draws, seed)
        return {
            k: RecoveredEncoding(rows, x, self.refine(k, x), torch.full_like(rows, x.shape[-1]))
            for k, (rows, x) in drawn.items()
        }

    # Use.

    @torch.no_grad()
    def recover(self, batch: Batch, samples: int = 1, seed: int = 0) -> Recovered:
        """Recover every missing modality of every row (no gradients, evaluation mode).

        Args:
            batch: B rows.
            samples: recoveries S of each.
            seed: of the noise.
        """
        check_batch(batch, "recover")
        with evaluating(self):
            return self._recover(self.encode(batch), batch.available, batch, samples, seed)

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
        check_available(batch.available)
        weight = self.branch_weight[pattern_bits(batch.available)]
        draws = self.num_samples(samples)
        spread, token, recovered = self.branches(self.encode(batch), batch, draws, seed, weight > 0)
        if token is not None:
            by_row = weight.reshape(-1, *[1] * (spread.ndim - 2))
            spread = by_row * spread + (1 - by_row) * token
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

    def num_samples(self, samples: int | None) -> int:
        """The number of recoveries for each prediction: 1 where all would be equal, None for the configured number."""
        count = self.config.num_samples if samples is None else samples
        if count < 1:
            raise ImderError(f"samples must be at least 1, got {count}")
        return count if self.config.recovery_kind.sampled else 1
