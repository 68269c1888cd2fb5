"""IMDer's configuration: encoders, recovery, refinement, fusion, and what a missing encoding is recovered by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from imder.diffusion.loss import ConditionNoise
from imder.diffusion.solvers import solver_named
from imder.models.configuration import check_numbers
from imder.models.fusion_system import MEMBERS
from imder.models.parts.context import ContextConfig
from imder.models.parts.encoder import EncoderConfig
from imder.models.parts.fusions import fusion_class
from imder.models.parts.fusions.base import FusionConfig
from imder.models.parts.fusions.pooled import PooledFusion
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
    """Settings of the score networks.

    Attributes:
        widths: channels of each resolution, finest first.
        heads: number of heads of the attention to the condition.
        attention_layers: number of attention layers at each resolution.
        embedding: channels of the noise-level embedding.
        condition_width: channels of the condition's tokens (condition ``tokens`` only).
        tokens: largest number of tokens for each available modality (condition ``tokens`` only).
        dropout: dropout rate in the residual blocks (condition ``tokens`` only).
        patch: number of neighbouring steps that are concatenated (condition ``tokens`` only).
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


_USELESS = {"tokens": ("causal",), "channels": ("condition_width", "tokens", "dropout", "patch")}
"""Settings of the network that a kind of condition doesn't read."""


@dataclass(frozen=True)
class RecoveryConfig:
    """Settings of the recovery.

    Attributes:
        condition: ``tokens`` (any number of modalities, native time grids) or ``channels`` (the paper's; one time grid).
        condition_noise: noise on the condition: ``clean`` (none), ``independent`` of the target's, or ``shared`` with it; the
            last two need condition ``channels``.
        preconditioning: ``edm`` (Karras et al., 2022) or ``score`` (the paper's: output divided by the noise's deviation).
        sigma: base of the noise schedule dx = sigma^t dw, t from 0 to 1.
        solver: ``dpmpp_2m``, ``heun`` or ``euler_maruyama``.
        evaluations: evaluations of the score network for one recovery.
        training_evaluations: the same while a phase trains, validation included; None for ``evaluations``.
        noise_levels_per_sample: noise levels for each training row in one step; they share the condition (``edm``).
        log_sigma_mean: mean of the normal distribution that training draws ln(noise level) from (``edm``).
        log_sigma_std: standard deviation of that distribution; draws are clipped to the schedule.
        network: settings of the score networks.
        kind: what replaces a missing encoding: see ``--recovery``.
        inpaint: whether erased steps of an available modality are recovered too, given its remaining ones (condition
            ``tokens``; kinds ``conditional`` and ``mean``). They are learned in a training under a protocol that erases
            steps, such as ``frames``.
        distilled: whether networks that draw in one evaluation take the place of those that ``solver`` evaluates: phase
            ``distillation`` teaches them what ``solver`` makes of the same noise (condition ``tokens``; kinds
            ``conditional`` and ``unconditional``; a solver without noise of its own).
    """

    condition: Literal["tokens", "channels"] = "tokens"
    condition_noise: ConditionNoise = "clean"
    preconditioning: Literal["edm", "score"] = "edm"
    sigma: float = 25.0
    solver: str = "dpmpp_2m"
    evaluations: int = 8
    training_evaluations: int | None = None
    noise_levels_per_sample: int = 2
    log_sigma_mean: float = 0.8
    log_sigma_std: float = 1.2
    network: NetworkConfig = field(default_factory=NetworkConfig)
    kind: Kind = "conditional"
    inpaint: bool = False
    distilled: bool = False

    def __post_init__(self) -> None:
        self._check_network()
        if self.distilled:
            self._check_distilled()
        if self.inpaint and (self.condition != "tokens" or self.kind not in ("conditional", "mean")):
            raise ImderError(
                f"recovery.inpaint needs condition 'tokens' and kind 'conditional' or 'mean', not {self.condition!r} and "
                f"{self.kind!r}"
            )
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
        if self.training_evaluations is not None:
            solver_named(self.solver).check(self.training_evaluations)

    def _check_network(self) -> None:
        """Raise `ImderError` for settings of the network that the condition has no use for."""
        usual, useless = NetworkConfig(), _USELESS[self.condition]
        for name in useless:
            if getattr(self.network, name) != getattr(usual, name):
                raise ImderError(
                    f"recovery.network.{name} has no effect with recovery.condition {self.condition!r}; leave it out"
                )

    def _check_distilled(self) -> None:
        """Raise `ImderError` for settings that a student can't learn."""
        if self.condition != "tokens" or not KINDS[self.kind].sampled:
            raise ImderError(
                "recovery.distilled needs condition 'tokens' and kind 'conditional' or 'unconditional', not "
                f"{self.condition!r} and {self.kind!r}"
            )
        if self.inpaint:
            raise ImderError("recovery.distilled and recovery.inpaint exclude each other; leave one out")
        if solver_named(self.solver).grid == "times":
            raise ImderError(
                f"recovery.distilled: solver {self.solver!r} adds noise in every step, so that no network can learn what it "
                "makes of the first; use 'dpmpp_2m' or 'heun'"
            )
        if self.evaluations < 2:
            raise ImderError(
                "recovery.distilled: a draw of one evaluation teaches nothing; set evaluations to 2 or more"
            )
        if self.training_evaluations is not None:
            raise ImderError("recovery.distilled draws in one evaluation; leave training_evaluations out")


@dataclass(frozen=True)
class RefinementConfig:
    """Settings of the refinement networks (paper's supplement, table 1: 64 channels, 20 blocks).

    Attributes:
        channels: number of channels of each block.
        blocks: number of residual channel-attention blocks.
        reduction: factor by which the channel attention narrows the channels.
    """

    channels: int = 64
    blocks: int = 4
    reduction: int = 16


@dataclass(frozen=True)
class IMDerConfig:
    """Settings of IMDer.

    Attributes:
        encoder: settings of the encoders.
        recovery: settings of the recovery.
        refinement: settings of the refinement.
        fusion: settings of the fusion.
        members: number of members: encoders, fusions and attentions of their own, trained together, whose predictions are
            averaged.
        context: settings of the attention to neighbouring clips, whose encodings are then part of the condition.
        num_samples: recoveries averaged in each prediction; one where nothing is sampled.
        two_branches: whether the missing-token branch exists and is averaged in; needs a fusion that reads states.
        auxiliary_weight: weight of score matching and reconstruction relative to the task's loss (paper: 0.1).
        cached_draws: recoveries of each training sample and pattern that are drawn once and then used in turn (``recovery``
            phase, where no neighbours are read; with neighbours they are drawn anew in each epoch).
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    refinement: RefinementConfig = field(default_factory=RefinementConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    members: int = 1
    context: ContextConfig = field(default_factory=ContextConfig)
    num_samples: int = 8
    two_branches: bool = True
    auxiliary_weight: float = 0.1
    cached_draws: int = 2

    def __post_init__(self) -> None:
        check_numbers(self, {"members": MEMBERS}, "model")
        if self.recovery.distilled and not self.two_branches:
            raise ImderError("recovery.distilled needs two_branches (preset fast): with one, everything learns at once")
        if (self.members > 1 or self.context.offsets) and not self.two_branches:
            raise ImderError("model.members and model.context need two_branches (preset fast)")
        if self.context.offsets and self.recovery.condition != "tokens":
            raise ImderError("model.context: recovery.condition 'channels' can't read neighbouring clips; use 'tokens'")
        if self.two_branches != issubclass(fusion_class(self.fusion.kind), PooledFusion):
            raise ImderError("two_branches needs fusion.kind 'pooled', which reads recoveries beside what is available")
        if (self.recovery.condition == "channels") != (self.encoder.time_grid != "native"):
            raise ImderError(
                "recovery.condition 'channels' needs encoder.time_grid 'resampled' or 'truncated', 'tokens' needs 'native'"
            )

    @property
    def recovery_kind(self) -> RecoveryKind:
        """Properties of the configured kind of recovery."""
        return KINDS[self.recovery.kind]
