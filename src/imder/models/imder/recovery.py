"""Recovery: score networks that learn p(encoding of k | available encodings), and the sampler that draws from it.

`TokenRecovery` is the recovery of ``fast``: a clean condition as tokens, a linear mean in closed form, EDM preconditioning on
the standardised rest, a deterministic solver. `imder.models.imder.paper` is the paper's. Other *kinds* of recovery replace
the draw from p(e_k | available), to measure what each part contributes (`imder.models.imder.recoveries` lists the classes):

    conditional     a draw from p(e_k | available e)         (the method)
    unconditional   a draw from p(e_k): the same networks, whose condition is always empty (paper, table 2, left column)
    mean            D(m, sigma_max), about E[e_k | available e]: one evaluation at the largest noise level
    regression      E[e_k | available e] from a network trained with squared error    (`.deterministic_recovery`)
    train-mean      the mean of the training encodings                                (`.deterministic_recovery`)
    zero            0                                                                 (`.deterministic_recovery`)

m is the linear mean of `TokenRecovery`, 0 for the paper's. The last four sample nothing: they are denoisers that need no
noise. All are refined and fused in the same way.

Rows that lack modality k are gathered, whatever else they lack, into one sampler call for k. Noise belongs to
(seed, key, modality, draw), or pair of antithetic draws.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from imder.diffusion import Denoiser, KeyedNoise, VESchedule
from imder.diffusion.sample import sample
from imder.models.imder.config import KINDS, RecoveryConfig
from imder.models.imder.observed import ObservedEncodings

DRAW_STEP = 0x1F123BB5159A55E5  # from the noise key of one (draw, modality) to the next; odd, so that none coincide
CPU_ROWS = 512  # sequences that a CPU samples at once: with more, intermediate results no longer fit its caches

Encodings = Mapping[str, Tensor]


@dataclass(frozen=True)
class MaskedEncodings:
    """B training samples under random masks.

    Attributes:
        observed: the encodings of all that is present, with masks as their availability and that of the neighbours.
        present: ``(B, K)`` bool.
        fold: ``(B,)``, below `imder.models.imder.linear_mean.FOLDS`; equal within a dialogue.
    """

    observed: ObservedEncodings
    present: Tensor
    fold: Tensor


@dataclass(frozen=True)
class ErasedEncodings:
    """B training samples some of whose steps are erased.

    Attributes:
        truth: the encodings of the complete samples, ``(B, width, steps_k)``.
        observed: what remains of them, with erased frames averaged.
        fold: as in `MaskedEncodings`.
    """

    truth: dict[str, Tensor]
    observed: ObservedEncodings
    fold: Tensor


class RecoveryModel(nn.Module, ABC):
    """The contract of a recovery, and what all share: the schedule, the solver, the gathering of draws.

    Where draws are `antithetic`, those of number 2 i and 2 i + 1 have opposite noise. Each has the right distribution; their
    mean is much nearer to the conditional mean than that of independent draws.

    Args:
        steps: of each modality's encoding.
        width: channels of the encodings.
        config: see `RecoveryConfig`.
        offsets: of the neighbouring clips whose encodings enter the condition, such as (-1, 1).

    Attributes:
        in_training_phase: whether draws take `RecoveryConfig.training_evaluations`.
    """

    antithetic: ClassVar[bool] = False

    def __init__(
        self, steps: Mapping[str, int], width: int, config: RecoveryConfig, offsets: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.offsets = tuple(offsets)
        self.names = tuple(steps)
        self.steps = dict(steps)
        self.width = width
        self.config = config
        self.kind = KINDS[config.kind]
        self.schedule = VESchedule(config.sigma)
        self.in_training_phase = False

    @property
    def evaluations(self) -> int:
        """Evaluations of the denoiser for each draw."""
        fewer = self.config.training_evaluations
        return fewer if self.in_training_phase and fewer is not None else self.config.evaluations

    def condition_mask(self, available: Tensor) -> Tensor:
        """The part of ``available`` (R, K) that the condition reads: none, for a kind that isn't conditional."""
        return available if self.kind.conditional else torch.zeros_like(available)

    def fit(self, encodings: Iterable[Encodings]) -> None:
        """Compute statistics of training encodings, if the kind needs any."""

    def fit_means(self, batches: Iterable[MaskedEncodings]) -> None:
        """Fit what is linear in the condition to training encodings, if the kind has such a part."""

    def fit_inpainting(self, batches: Iterable[ErasedEncodings]) -> None:
        """Fit what is linear in the remaining steps to training encodings, if the kind recovers erased steps."""

    @abstractmethod
    def losses(self, target: str, clean: Tensor, observed: ObservedEncodings, keys: Tensor, seed: int) -> Tensor:
        """Denoising score matching.

        Args:
            target: the modality to learn.
            clean: its true encodings ``(R, width, steps)``.
            observed: R rows (the encodings of ``target`` itself are never used).
            keys: ``(R,)``, for the noise.
            seed: of the noise.

        Returns:
            ``(R,)``.
        """

    @abstractmethod
    def denoiser(self, target: str, observed: ObservedEncodings, noise: KeyedNoise) -> Denoiser:
        """The denoiser for ``R * S`` rows (draws of a row adjacent), in the space where diffusion works."""

    def solve(self, denoise: Denoiser, shape: tuple[int, ...], noise: KeyedNoise) -> Tensor:
        """One draw for each row of ``shape``, with the configured solver."""
        return sample(denoise, shape, noise, self.schedule, self.config.solver, self.evaluations)

    def restore(self, target: str, x: Tensor) -> Tensor:
        """From the space where diffusion works back to encodings."""
        return x

    def closed_form_mean(self, target: str, observed: ObservedEncodings) -> Tensor:
        """The part of the mean ``(R, width, steps)`` that needs no network, in the space where diffusion works: 0."""
        encodings = observed.encodings[target]
        return encodings.new_zeros(len(encodings), self.width, self.steps[target])

    @torch.no_grad()
    def sample(self, target: str, observed: ObservedEncodings, keys: Tensor, *, draws: int, seed: int) -> Tensor:
        """Sample encodings of ``target`` given the available ones: ``(draws, R, width, steps)``.

        Args:
            target: the missing modality.
            observed: R rows; where steps of the target are erased, untouched steps are sampled as they are.
            keys: ``(R,)``.
            draws: for each row; all equal, for any seed, where the kind samples nothing.
            seed: of the noise.
        """
        if not self.kind.sampled:
            return self._estimate(target, observed, keys).expand(draws, -1, -1, -1)
        rows, most = len(keys), max(1, CPU_ROWS // draws)
        if keys.device.type == "cpu" and rows > most:
            chunks = [slice(i, i + most) for i in range(0, rows, most)]
            parts = [self.sample(target, observed.take(c), keys[c], draws=draws, seed=seed) for c in chunks]
            return torch.cat(parts, dim=1)
        index = self.names.index(target)
        draw = torch.arange(draws, device=keys.device)
        odd = draw % 2 if self.antithetic else torch.zeros_like(draw)
        stream = (draw - odd) * len(self.names) + index
        sign = (1.0 - 2.0 * odd).repeat(rows) if self.antithetic else None
        noise = KeyedNoise((keys[:, None] + stream * DRAW_STEP).flatten(), seed, sign=sign)
        shape = (rows * draws, self.width, self.steps[target])
        denoise = self.denoiser(target, observed, noise)
        restored = self.restore(target, self.solve(denoise, shape, noise))
        return restored.reshape(rows, draws, *restored.shape[1:]).transpose(0, 1)

    def _estimate(self, target: str, observed: ObservedEncodings, keys: Tensor) -> Tensor:
        """The denoised x at the largest noise level, ``(R, width, steps)``.

        There x carries almost no information, so that D(x) is the mean of p(x0 | condition); x is what is known of that mean
        in closed form. A condition that needs noise gets the same in every call.
        """
        noise = KeyedNoise(keys + self.names.index(target) * DRAW_STEP, 0)
        x = self.closed_form_mean(target, observed)
        sigma = self.schedule.std(x.new_tensor(1.0))
        return self.restore(target, self.denoiser(target, observed, noise)(x, sigma))
