"""Settings of the imputer."""

from __future__ import annotations

from dataclasses import dataclass, field

from imder.diffusion.solvers import solver_named
from imder.models.configuration import POSITIVE_COUNT, Number, check_numbers
from imder.models.fusion_system import MEMBERS
from imder.models.imputer.codec import CodecConfig
from imder.models.imputer.denoiser import DenoiserConfig
from imder.models.parts.context import ContextConfig
from imder.models.parts.encoder import EncoderConfig
from imder.models.parts.fusions.base import FusionConfig


@dataclass(frozen=True)
class ImputerConfig:
    """Settings of the imputer.

    Attributes:
        label: whether a late fusion learns to predict the label, and draws of features are made given a draw of the label.
            Off for a corpus without labels (``--task none``).
        factors: number of common factors of all codes.
        codec: settings of the codes of raw features.
        network: settings of the residual denoisers.
        solver: of the sampler.
        evaluations: of a denoiser for each draw.
        log_sigma_mean: mean of ln(noise level) in training.
        log_sigma_std: standard deviation of ln(noise level).
        context: which neighbouring clips are read, by the late fusion and by the draws.
        encoder: settings of the late fusion's encoders.
        fusion: settings of its fusion.
        members: number of its members.
    """

    label: bool = True
    factors: int = 20
    codec: CodecConfig = field(default_factory=CodecConfig)
    network: DenoiserConfig = field(default_factory=DenoiserConfig)
    solver: str = "dpmpp_2m"
    evaluations: int = 16
    log_sigma_mean: float = -0.2
    log_sigma_std: float = 1.2
    context: ContextConfig = field(default_factory=ContextConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    members: int = 1

    def __post_init__(self) -> None:
        numbers = {
            "members": MEMBERS,
            "factors": POSITIVE_COUNT,
            "evaluations": POSITIVE_COUNT,
            "log_sigma_mean": Number(),
            "log_sigma_std": Number(above=0),
        }
        check_numbers(self, numbers, "model")
        solver_named(self.solver).check(self.evaluations)
