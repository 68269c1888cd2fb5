"""IMDer: sample every missing modality given those that are there, refine it, fuse all, predict.

    e_k = E_k(x_k)                    for each available modality      (`imder.models.parts.encoder`)
    s_k ~ p(e_k | available e)        for each missing one             (`imder.models.imder.recovery`)
    r_k = D_k(s_k)                    refined                          (`imder.nn.rcab`)
    y   = fusion(e or r of every k)                                    (`imder.models.parts.fusions`)

``fast`` keeps two branches. The *missing-token* branch is stage 1's fusion, trained with every pattern, and never sees a
recovery. The *recovery* branch starts as its copy and learns, in stage 2, to use recovered encodings and to be told of them.
The prediction averages the recovery branch over several recoveries and then mixes both; the weight of each pattern of
availability is chosen on validation and may turn recovery off. The published presets have the one fusion.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from imder.missingness.subsets import check_available, pattern_bits
from imder.models.base import Model, evaluating
from imder.models.imder.deterministic_recovery import FixedRecovery, RegressionRecovery
from imder.models.imder.paper import PaperRecovery
from imder.models.imder.recovery import FIXED, SAMPLED, RecoveryConfig, RecoveryModel, TokenRecovery
from imder.models.parts.encoder import Encoder, EncoderConfig, encode_seen, encoded_steps
from imder.models.parts.fusions.multimodal_transformer import MulTFusion
from imder.models.parts.fusions.pooled import AVAILABLE, MISSING, RECOVERED, FusionConfig, PooledFusion
from imder.models.parts.losses import is_labelled, row_losses, to_prediction
from imder.nn.rcab import ResidualChannelAttention
from imder.types import Batch, ImderError, Output, RecoveredEncoding, Spec

RELEASED_ORDER = ("language", "audio", "vision")


@dataclass(frozen=True)
class RefinementConfig:
    """Of D_k (supplement, table 1: 64 channels, 20 blocks)."""

    channels: int = 64
    blocks: int = 4
    reduction: int = 16


@dataclass(frozen=True)
class IMDerConfig:
    """Of the whole network.

    Attributes:
        num_samples: recoveries for each prediction, averaged; one where nothing is sampled.
        two_branches: whether the missing-token branch exists and is averaged in.
        auxiliary_weight: weight of score matching and reconstruction beside the task's loss (paper: 0.1).
        cached_draws: recoveries of each training sample and pattern that stage 2 alternates between, drawn once each.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    refinement: RefinementConfig = field(default_factory=RefinementConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    num_samples: int = 8
    two_branches: bool = True
    auxiliary_weight: float = 0.1
    cached_draws: int = 2

    def __post_init__(self) -> None:
        if self.two_branches != (self.fusion.kind == "pooled"):
            raise ImderError("two_branches needs fusion.kind 'pooled' (the multimodal transformer isn't told states)")
        if (self.recovery.condition == "channels") != (self.encoder.time_grid != "native"):
            raise ImderError(
                "recovery.condition 'channels' needs encoder.time_grid 'resampled' or 'truncated', 'tokens' needs 'native'"
            )


def recovery_type(config: RecoveryConfig) -> type[RecoveryModel]:
    """What recovers under a configuration."""
    if config.kind in FIXED:
        return FixedRecovery
    if config.kind == "regression":
        return RegressionRecovery
    return TokenRecovery if config.condition == "tokens" else PaperRecovery


class IMDerNetwork(Model):
    """The network and its use; how it learns is `imder.models.imder.training`.

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
                f"the published condition has a layer for each subset: K = {len(spec.names)} is too many, use fast"
            )
        width = config.encoder.width
        self.encoders = nn.ModuleDict({m.name: Encoder(m, config.encoder) for m in spec.modalities})
        steps = {m.name: encoded_steps(m, config.encoder) for m in spec.modalities}
        # Encoders and fusion first: of one seed, they then start from the weights that `late-fusion` starts from.
        self.fusion: nn.Module
        if config.two_branches:
            self.fusion = PooledFusion(steps, width, spec.outputs, config.fusion)
        else:
            fusion = config.fusion
            names = RELEASED_ORDER if set(steps) == set(RELEASED_ORDER) else tuple(steps)
            self.fusion = MulTFusion(
                names,
                width,
                fusion.heads,
                fusion.layers,
                spec.outputs,
                {"audio": fusion.audio_dropout} if "audio" in steps else 0.0,
                fusion.embedding_dropout,
                fusion.dropout,
                fusion.causal,
                zero_is_padding=fusion.causal,  # the released code's attention: both of its conventions or neither
            )
        self.recovery: RecoveryModel = recovery_type(config.recovery)(steps, width, config.recovery)
        refinement = config.refinement
        self.refiners = nn.ModuleDict(
            {
                k: ResidualChannelAttention(width, refinement.channels, refinement.blocks, refinement.reduction)
                for k in steps
            }
        )
        if config.two_branches:
            self.recovered_fusion = PooledFusion(steps, width, spec.outputs, config.fusion)
        self.register_buffer("branch_weight", torch.full((2 ** len(steps),), 0.5 if config.two_branches else 1.0))
        self.register_buffer("cooccurrence", torch.ones(len(steps), len(steps), dtype=torch.bool))

    # Parts.

    def encode(self, batch: Batch, seen: Tensor | None = None) -> dict[str, Tensor]:
        """Encodings ``(B, width, steps_k)`` of the available modalities, zero elsewhere.

        ``seen`` (B, K) encodes others than the available ones (training only).
        """
        return encode_seen(self.encoders, batch, batch.available if seen is None else seen)

    def refine(self, name: str, sampled: Tensor) -> Tensor:
        """D_k of sampled encodings ``(..., width, steps)``."""
        refined: Tensor = self.refiners[name](sampled.flatten(0, -3))
        return refined.reshape(sampled.shape)

    def _sample(
        self, encodings: dict[str, Tensor], settled: Tensor, available: Tensor, keys: Tensor, draws: int, seed: int
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """For each modality that some row lacks and that isn't ``settled`` (B, K): rows ``(R,)``, draws ``(S, R, ...)``."""
        out = {}
        for i, name in enumerate(self.spec.names):
            rows = (~settled[:, i]).nonzero().squeeze(1)
            if len(rows):
                given = {k: e[rows] for k, e in encodings.items()}
                usable = self._usable(i, available[rows])
                out[name] = (rows, self.recovery.sample(name, given, usable, keys[rows], draws=draws, seed=seed))
        return out

    def _recover(
        self, encodings: dict[str, Tensor], settled: Tensor, available: Tensor, keys: Tensor, draws: int, seed: int
    ) -> dict[str, RecoveredEncoding]:
        """What `_sample` draws, refined."""
        drawn = self._sample(encodings, settled, available, keys, draws, seed)
        return {
            k: RecoveredEncoding(rows, x, self.refine(k, x), torch.full_like(rows, x.shape[-1]))
            for k, (rows, x) in drawn.items()
        }

    @torch.no_grad()
    def recover(self, batch: Batch, samples: int = 1, seed: int = 0) -> dict[str, RecoveredEncoding]:
        """Recover every missing modality of every row (no gradients, evaluation mode).

        Returns:
            For each modality that some row lacks: the rows, ``sampled`` and ``refined`` (S, rows, width, steps), lengths.
        """
        with evaluating(self):
            return self._recover(self.encode(batch), batch.available, batch.available, batch.keys, samples, seed)

    def _fuse(
        self, fusion: nn.Module, encodings: dict[str, Tensor], state: Tensor, rows: Tensor | None = None
    ) -> Tensor:
        """One output for each row of ``state``; ``rows`` says whose encodings it means, where they serve several."""
        if self.config.two_branches:
            out = fusion(encodings, state, None if rows is None else rows[:, None].expand_as(state))
        else:
            out = fusion(encodings if rows is None else {k: e[rows] for k, e in encodings.items()})[0]
        return out  # type: ignore[no-any-return]

    def recovered_outputs(
        self, encodings: dict[str, Tensor], available: Tensor, recovered: dict[str, RecoveredEncoding], draws: int
    ) -> Tensor:
        """The recovery branch's outputs ``(S, B, O)``; rows that lack nothing are computed once."""
        lacking = (~available).any(1)
        out = encodings[self.spec.names[0]].new_zeros(draws, len(available), self.spec.outputs)
        branch = self.recovered_fusion if self.config.two_branches else self.fusion
        whole = (~lacking).nonzero().squeeze(1)
        if len(whole):
            state = torch.full_like(available[whole], AVAILABLE, dtype=torch.int64)
            out[:, whole] = self._fuse(branch, {k: e[whole] for k, e in encodings.items()}, state).to(out.dtype)
        rows = lacking.nonzero().squeeze(1)
        if len(rows):
            filled = {}
            for name, encoding in encodings.items():
                full = encoding.expand(draws, *encoding.shape)
                if name in recovered:
                    full = full.index_copy(1, recovered[name].rows, recovered[name].refined.to(full.dtype))
                filled[name] = full[:, rows].flatten(0, 1)
            state = torch.where(available[rows], AVAILABLE, RECOVERED).repeat(draws, 1)
            out[:, rows] = self._fuse(branch, filled, state).reshape(draws, len(rows), -1).to(out.dtype)
        return out

    # Use.

    def _samples(self, samples: int | None) -> int:
        count = self.config.num_samples if samples is None else samples
        if count < 1:
            raise ImderError(f"samples must be at least 1, got {count}")
        return self._distinct(count)

    def _distinct(self, draws: int) -> int:
        """One, where all recoveries are equal."""
        return draws if self.config.recovery.kind in SAMPLED else 1

    def forward(self, batch: Batch, samples: int | None = None, seed: int = 0) -> Output:
        """Predict; with labels, ``losses["task"]`` too. Differentiable but for the sampling."""
        return self._predict(batch, self._samples(samples), seed, everything=True)

    @torch.no_grad()
    def predict(self, batch: Batch, *, samples: int | None = None, seed: int = 0) -> Output:
        """Predictions without gradients (see `Model.predict`), the mean of ``spread`` over recoveries.

        A row whose pattern gives no weight to recovery isn't recovered: ``recovered`` holds what was used.
        """
        with evaluating(self):
            return self._predict(batch, self._samples(samples), seed, everything=False)

    def _branches(
        self, encodings: dict[str, Tensor], batch: Batch, draws: int, seed: int, wanted: Tensor
    ) -> tuple[Tensor, Tensor | None, dict[str, RecoveredEncoding]]:
        """Predictions of the recovery branch ``(S, B, ...)`` (for rows that are ``wanted``) and of the missing-token one."""
        available = batch.available | ~wanted[:, None]
        recovered = self._recover(encodings, available, batch.available, batch.keys, draws, seed)
        spread = to_prediction(self.recovered_outputs(encodings, available, recovered, draws), self.spec)
        if not self.config.two_branches:
            return spread, None, recovered
        token = self._fuse(self.fusion, encodings, torch.where(batch.available, AVAILABLE, MISSING))
        return spread, to_prediction(token, self.spec), recovered

    def _predict(self, batch: Batch, samples: int, seed: int, *, everything: bool) -> Output:
        check_available(batch.available)
        trust = self.branch_weight[pattern_bits(batch.available)]
        spread, token, recovered = self._branches(self.encode(batch), batch, samples, seed, (trust > 0) | everything)
        losses = {}
        if token is not None:
            weight = trust.reshape(-1, *[1] * (spread.ndim - 2))
            spread = weight * spread + (1 - weight) * token
        prediction = spread.mean(0)
        if batch.labels is not None:
            losses["task"] = _prediction_loss(prediction, batch.labels, self.spec)
        used = trust * (~batch.available).any(1)  # where nothing is missing, nothing recovered enters
        return Output(prediction, spread, used, recovered, losses)

    def _usable(self, target: int, available: Tensor) -> Tensor:
        """``available`` without what training never saw together with the target."""
        return available & self.cooccurrence[target]


def _prediction_loss(prediction: Tensor, labels: Tensor, spec: Spec) -> Tensor:
    return row_losses(prediction, labels, spec).sum() / is_labelled(labels, spec).sum().clamp(min=1)
