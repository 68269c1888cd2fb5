"""Recovery: score networks that learn p(encoding of k | available encodings), and the sampler that draws from it.

Two networks with one contract. `TokenRecovery` is what ``fast`` uses: clean condition as tokens, EDM preconditioning on
standardised encodings, a deterministic solver. `imder.models.imder.paper` is the paper's.

What else could stand in place of a draw from p(e_k | available) is a *kind* of recovery, to see what each part is worth:

    conditional     a draw from p(e_k | available e)         (the method)
    unconditional   a draw from p(e_k): the same networks, which never look at a condition (paper, table 2, left column)
    mean            D(0, sigma_max), about E[e_k | available e]: where nothing but noise is known, one evaluation
    regression      E[e_k | available e] from a network trained with squared error    (`.deterministic_recovery`)
    train-mean      the mean of the training encodings                                (`.deterministic_recovery`)
    zero            0                                                                 (`.deterministic_recovery`)

The last four draw nothing: they are denoisers that need no noise. All are refined and fused in the same way.

Rows that lack modality k are gathered, whatever else they lack, into one sampler call for k. Noise belongs to
(seed, key, modality, draw).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from imder.diffusion import Denoiser, KeyedNoise, VESchedule, edm_denoiser, edm_loss
from imder.diffusion.loss import ConditionNoise
from imder.diffusion.sample import TIME_MIN, sample
from imder.diffusion.solvers import solver_named
from imder.models.imder.conditions import TokenCondition
from imder.nn.standardize import Standardizer, fit_together
from imder.nn.unet import UNet
from imder.types import ImderError

Kind = Literal["conditional", "unconditional", "mean", "regression", "train-mean", "zero"]
SAMPLED: tuple[Kind, ...] = ("conditional", "unconditional")
FIXED: tuple[Kind, ...] = ("train-mean", "zero")
"""Kinds that have nothing to learn."""

DRAW_STEP = 0x1F123BB5159A55E5  # from the noise key of one (draw, modality) to the next; odd, so that none meet
CPU_ROWS = 512  # sequences that a processor draws at once: with more, intermediate results no longer stay in its caches


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
        patch: steps that enter the network side by side (``tokens`` only).
        causal: whether attention is causal (``channels`` only; the released code's).
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
    """Of the diffusion model.

    Attributes:
        condition: ``tokens`` (any K, native time grids) or ``channels`` (as published; one resampled time grid).
        condition_noise: ``clean``, ``independent`` or ``shared`` (`imder.diffusion.loss`; ``channels`` only uses the
            last two).
        preconditioning: ``edm`` or ``score`` (`imder.diffusion.denoiser`).
        sigma: of the schedule dx = sigma^t dw.
        solver: of `imder.diffusion.SOLVERS`.
        evaluations: of the score network for one recovery.
        noise_levels_per_sample: noise levels at which a training row is seen in one step; they share the condition's work (``edm``).
        log_sigma_mean, log_sigma_std: the normal law of ln sigma in the EDM loss, clipped to the schedule's range.
        network: of the score networks.
        kind: what stands for a missing encoding (see the module).
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
        network = (self.condition, self.preconditioning)
        if network not in (("tokens", "edm"), ("channels", "score")):
            fitting = "edm" if self.condition == "tokens" else "score"
            raise ImderError(f"recovery: condition {self.condition!r} goes with {fitting!r}")
        if self.kind == "regression" and self.condition != "tokens":
            raise ImderError(
                "recovery: kind 'regression' reads condition 'tokens' (encoder.time_grid 'native'), not 'channels'"
            )
        if self.condition == "tokens" and self.condition_noise != "clean":
            raise ImderError("recovery: condition 'tokens' is clean; condition_noise needs condition 'channels'")
        solver_named(self.solver).check(self.evaluations)


Encodings = Mapping[str, Tensor]


class RecoveryModel(nn.Module, ABC):
    """What both kinds share: the schedule, the solver and the gathering of draws."""

    def __init__(self, steps: Mapping[str, int], width: int, config: RecoveryConfig) -> None:
        super().__init__()
        self.names = tuple(steps)
        self.steps = dict(steps)
        self.width = width
        self.config = config
        self.schedule = VESchedule(config.sigma)

    def looked_at(self, available: Tensor) -> Tensor:
        """What of ``available`` (R, K) the condition may use: nothing, where the kind is unconditional."""
        return torch.zeros_like(available) if self.config.kind == "unconditional" else available

    def fit(self, encodings: Iterable[Encodings]) -> None:
        """Take statistics of training encodings, if the kind needs any."""

    @abstractmethod
    def losses(
        self, target: str, clean: Tensor, encodings: Encodings, available: Tensor, keys: Tensor, seed: int
    ) -> Tensor:
        """Denoising score matching.

        Args:
            target: the modality to learn.
            clean: its true encodings ``(R, width, steps)``.
            encodings: of every modality, ``(R, width, steps_k)``.
            available: ``(R, K)`` bool, what the condition may use (``target`` itself is never used).
            keys: ``(R,)``, for the noise.
            seed: of the noise.

        Returns:
            ``(R,)``.
        """

    @abstractmethod
    def denoiser(self, target: str, encodings: Encodings, available: Tensor, noise: KeyedNoise) -> Denoiser:
        """The denoiser for ``R * S`` rows (draws of a row side by side), in the space where diffusion works."""

    def restore(self, target: str, x: Tensor) -> Tensor:
        """From the space where diffusion works back to encodings."""
        return x

    @torch.no_grad()
    def sample(
        self, target: str, encodings: Encodings, available: Tensor, keys: Tensor, *, draws: int, seed: int
    ) -> Tensor:
        """Draw encodings of ``target`` given the available ones: ``(draws, R, width, steps)``.

        Args:
            target: the missing modality.
            encodings: of every modality, ``(R, width, steps_k)``; anything where unavailable.
            available: ``(R, K)`` bool.
            keys: ``(R,)``.
            draws: for each row; all equal where the kind samples nothing, whatever the seed.
            seed: of the noise.
        """
        if self.config.kind not in SAMPLED:
            return self._answer(target, encodings, available, keys).expand(draws, -1, -1, -1)
        rows, most = len(keys), max(1, CPU_ROWS // draws)
        if keys.device.type == "cpu" and rows > most:
            cuts = [slice(i, i + most) for i in range(0, rows, most)]
            parts = [({k: e[c] for k, e in encodings.items()}, available[c], keys[c]) for c in cuts]
            return torch.cat([self.sample(target, *part, draws=draws, seed=seed) for part in parts], dim=1)
        index = self.names.index(target)
        stream = torch.arange(draws, device=keys.device) * len(self.names) + index
        noise = KeyedNoise((keys[:, None] + stream * DRAW_STEP).flatten(), seed)
        shape = (rows * draws, self.width, self.steps[target])
        denoise = self.denoiser(target, encodings, available, noise)
        x = sample(denoise, shape, noise, self.schedule, self.config.solver, self.config.evaluations)
        restored = self.restore(target, x)
        return restored.reshape(rows, draws, *restored.shape[1:]).transpose(0, 1)

    def _answer(self, target: str, encodings: Encodings, available: Tensor, keys: Tensor) -> Tensor:
        """The denoiser's answer at the largest noise level, ``(R, width, steps)``.

        x tells next to nothing there, so that D(x) is the mean of p(x0 | condition); x is 0, the middle of what it could
        be. A condition that needs noise gets the same at every call.
        """
        noise = KeyedNoise(keys + self.names.index(target) * DRAW_STEP, 0)
        x = encodings[target].new_zeros(len(keys), self.width, self.steps[target])
        sigma = self.schedule.std(x.new_tensor(1.0))
        return self.restore(target, self.denoiser(target, encodings, available, noise)(x, sigma))


class TokenRecovery(RecoveryModel):
    """Conditional EDM on standardised encodings; the condition is attended to as tokens."""

    def __init__(self, steps: Mapping[str, int], width: int, config: RecoveryConfig) -> None:
        super().__init__(steps, width, config)
        net = config.network
        self.standardize = nn.ModuleDict({k: Standardizer(width) for k in steps})
        others = {k: {j: n for j, n in steps.items() if j != k} for k in steps}
        self.conditions = nn.ModuleDict(
            {k: TokenCondition(others[k], width, net.condition_width, net.tokens) for k in steps}
        )
        self.networks = nn.ModuleDict(
            {
                k: UNet(
                    width,
                    n,
                    net.widths,
                    net.condition_width,
                    net.heads,
                    net.attention_layers,
                    net.embedding,
                    net.dropout,
                    net.patch,
                )
                for k, n in steps.items()
            }
        )

    def fit(self, encodings: Iterable[Encodings]) -> None:
        """Statistics of the rows given for each modality, over time too."""
        rows = ({k: e.transpose(1, 2).flatten(0, 1) for k, e in given.items()} for given in encodings)
        fit_together(dict(self.standardize.items()), rows)  # type: ignore[arg-type]

    def _condition(self, target: str, encodings: Encodings, available: Tensor) -> tuple[Tensor, Tensor]:
        others, available = [k for k in self.names if k != target], self.looked_at(available)
        scaled = {k: self._scale(k, encodings[k]) for k in others}
        there = {k: available[:, self.names.index(k)] for k in others}
        tokens, mask = self.conditions[target](scaled, there)
        return tokens, mask

    def _scale(self, name: str, x: Tensor) -> Tensor:
        scaled: Tensor = self.standardize[name](x.transpose(1, 2))
        return scaled.transpose(1, 2)

    def restore(self, target: str, x: Tensor) -> Tensor:
        """Undo the standardisation."""
        restored: Tensor = self.standardize[target].inverse(x.transpose(1, 2))  # type: ignore[operator]
        return restored.transpose(1, 2)

    def losses(
        self, target: str, clean: Tensor, encodings: Encodings, available: Tensor, keys: Tensor, seed: int
    ) -> Tensor:
        """EDM's loss, ln sigma normal (see the base class)."""
        network = self.networks[target]
        condition = network.prepare(*self._condition(target, encodings, available))  # type: ignore[operator]
        rows, levels = len(keys), self.config.noise_levels_per_sample
        noise = KeyedNoise(keys, seed)
        log_sigma = self.config.log_sigma_mean + self.config.log_sigma_std * noise.normal((rows, levels)).flatten()
        ends = self.schedule.std(torch.tensor([TIME_MIN, 1.0])).log().tolist()
        sigma = log_sigma.clamp(*ends).exp()
        clean = self._scale(target, clean).repeat_interleave(levels, dim=0)
        z = noise.normal((rows, levels, *clean.shape[1:])).flatten(0, 1)
        return edm_loss(lambda x, c: network(x, c, condition), clean, sigma, z).reshape(rows, levels).mean(1)

    def denoiser(self, target: str, encodings: Encodings, available: Tensor, noise: KeyedNoise) -> Denoiser:
        """Keys and values of the condition are made once, here."""
        network = self.networks[target]
        condition = network.prepare(*self._condition(target, encodings, available))  # type: ignore[operator]
        return edm_denoiser(lambda x, c: network(x, c, condition))
