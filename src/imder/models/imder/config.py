"""IMDer's configuration: encoders, recovery, refinement, fusion, and what a missing encoding is recovered by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from imder.diffusion.loss import ConditionNoise
from imder.diffusion.solvers import solver_named
from imder.models.parts.encoder import EncoderConfig
from imder.models.parts.fusions import fusion_class
from imder.models.parts.fusions.base import FusionConfig
from imder.types import ImderError

Kind = Literal["conditional", "unconditional", "mean", "regression", "train-mean", "zero"]


@dataclass(frozen=True)
class RecoveryKind:
    """Properties of a kind of recovery.

    Attributes:
        sampled: whether recoveries are drawn at random, so that several of one row differ.
        learned: whether there are parameters to train.
        conditional: whether a recovery depends on the available modalities.
    """

    sampled: bool
    learned: bool
    conditional: bool


KINDS: dict[Kind, RecoveryKind] = {
    "conditional": RecoveryKind(sampled=True, learned=True, conditional=True),
    "unconditional": RecoveryKind(sampled=True, learned=True, conditional=False),
    "mean": RecoveryKind(sampled=False, learned=True, conditional=True),
    "regression": RecoveryKind(sampled=False, learned=True, conditional=True),
    "train-mean": RecoveryKind(sampled=False, learned=False, conditional=False),
    "zero": RecoveryKind(sampled=False, learned=False, conditional=False),
}
"""``recovery.kind`` -> properties; `imder.models.imder.recoveries` has the classes."""


@dataclass(frozen=True)
class NetworkConfig:
    """Of the score networks.

    Attributes:
        widths: channels of each resolution, finest first.
        heads: of the attention to the condition.
        attention_layers: at each level.
        embedding: width of the noise-level embedding.
        condition_width: width of the condition's tokens (``tokens`` only).
        tokens: at most so many for each modality (``tokens`` only).
        dropout: in the residual blocks (``tokens`` only).
        patch: neighbouring steps that are concatenated (``tokens`` only).
        causal: attention as in the official code: causal, and steps whose first channel is exactly 0 get no position
            (``channels`` only).
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    heads: int = 8
    attention_layers: int = 1
    embedding: int = 128
    condition_width: int = 64
    tokens: int = 8
    dropout: float = 0.0
    patch: int = 4
    causal: bool = False


@dataclass(frozen=True)
class RecoveryConfig:
    """Of the recovery.

    Attributes:
        condition: ``tokens`` (any K, native time grids) or ``channels`` (the paper's; one common time grid).
        condition_noise: ``clean``, ``independent`` or ``shared`` (`imder.diffusion.loss`); the last two need ``channels``.
        preconditioning: ``edm`` or ``score`` (`imder.diffusion.denoiser`).
        sigma: of the schedule dx = sigma^t dw.
        solver: a name of `imder.diffusion.SOLVERS`.
        evaluations: of the score network for one recovery.
        noise_levels_per_sample: noise levels for each training row in one step; they share the condition (``edm``).
        log_sigma_mean, log_sigma_std: of the normal distribution of ln sigma in the EDM loss, clipped to the schedule.
        network: of the score networks.
        kind: what replaces a missing encoding (`imder.models.imder.recovery`).
    """

    condition: Literal["tokens", "channels"] = "tokens"
    condition_noise: ConditionNoise = "clean"
    preconditioning: Literal["edm", "score"] = "edm"
    sigma: float = 25.0
    solver: str = "dpmpp_2m"
    evaluations: int = 8
    noise_levels_per_sample: int = 2
    log_sigma_mean: float = 0.8
    log_sigma_std: float = 1.2
    network: NetworkConfig = field(default_factory=NetworkConfig)
    kind: Kind = "conditional"

    def __post_init__(self) -> None:
        if (self.condition, self.preconditioning) not in (("tokens", "edm"), ("channels", "score")):
            fitting = "edm" if self.condition == "tokens" else "score"
            raise ImderError(f"recovery: condition {self.condition!r} goes with {fitting!r}")
        if self.kind == "regression" and self.condition != "tokens":
            raise ImderError(
                "recovery: kind 'regression' reads condition 'tokens' (encoder.time_grid 'native'), not 'channels'"
            )
        if self.condition == "tokens" and self.condition_noise != "clean":
            raise ImderError("recovery: condition 'tokens' is clean; condition_noise needs condition 'channels'")
        solver_named(self.solver).check(self.evaluations)


@dataclass(frozen=True)
class RefinementConfig:
    """Of D_k (supplement, table 1: 64 channels, 20 blocks)."""

    channels: int = 64
    blocks: int = 4
    reduction: int = 16


@dataclass(frozen=True)
class IMDerConfig:
    """Of the whole system.

    Attributes:
        num_samples: recoveries averaged in each prediction; one where nothing is sampled.
        two_branches: whether the missing-token branch exists and is averaged in; needs a fusion that reads states.
        auxiliary_weight: weight of score matching and reconstruction relative to the task's loss (paper: 0.1).
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
        if self.two_branches != fusion_class(self.fusion.kind).reads_state:
            raise ImderError("two_branches needs fusion.kind 'pooled' (the multimodal transformer isn't told states)")
        if (self.recovery.condition == "channels") != (self.encoder.time_grid != "native"):
            raise ImderError(
                "recovery.condition 'channels' needs encoder.time_grid 'resampled' or 'truncated', 'tokens' needs 'native'"
            )

    @property
    def recovery_kind(self) -> RecoveryKind:
        """Properties of the configured kind of recovery."""
        return KINDS[self.recovery.kind]
