r"""Recovery in one evaluation: a student learns what the solver makes of the same noise.

A solver of the probability flow is a function from noise and condition to a draw, S(x, c), of as many evaluations of the trained
denoiser D as it is given. The student F, which starts as D, learns

.. math:: \min_F E \| F(x, \sigma_{max}, c) - S(x, c) \|^2, \qquad x \sim N(0, \sigma_{max}^2 I)

(knowledge distillation of a denoising model: Luhman and Luhman 2021). S has no noise of its own, so the minimum is 0 and a draw of
F has the distribution of S's. Both see the conditions of training samples under random masks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import torch
from torch import Tensor

from imder.diffusion import Denoiser, KeyedNoise
from imder.diffusion.sample import sample
from imder.models.imder.config import RecoveryConfig
from imder.models.imder.observed import ObservedEncodings
from imder.models.imder.token_recovery import TokenRecovery


class DistilledRecovery(TokenRecovery):
    """`TokenRecovery` whose draws take one evaluation, once phase ``distillation`` has taught it."""

    def __init__(
        self, steps: Mapping[str, int], width: int, config: RecoveryConfig, offsets: Sequence[int] = ()
    ) -> None:
        super().__init__(steps, width, config, offsets)
        self._teacher: tuple[TokenRecovery, ...] = ()  # in a tuple, so that its weights aren't part of this module's

    @property
    def evaluations(self) -> int:
        """A draw takes one evaluation."""
        return 1

    def start_distillation(self) -> None:
        """Keep a copy of the networks as the teacher."""
        self.end_distillation()
        self._teacher = (copy.deepcopy(self).eval().requires_grad_(False),)

    def end_distillation(self) -> None:
        """Drop the teacher."""
        self._teacher = ()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move the parameters, as `to` and `cuda` do, with those of the teacher."""
        for teacher in self._teacher:
            teacher._apply(fn, recurse)  # type: ignore[no-untyped-call]
        moved: Self = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return moved

    def losses(self, target: str, clean: Tensor, observed: ObservedEncodings, keys: Tensor, seed: int) -> Tensor:
        """With a teacher the squared distance to its draws, in standardised channels; before, EDM's loss (see the base class)."""
        if not self._teacher:
            return super().losses(target, clean, observed, keys, seed)
        shape = tuple(clean.shape)
        with torch.no_grad():
            noise = KeyedNoise(keys, seed)
            denoise = self._teacher[0].denoiser(target, observed, noise)
            goal = sample(denoise, shape, noise, self.schedule, self.config.solver, self.config.evaluations)
        noise = KeyedNoise(keys, seed)
        answer = self.solve(self.denoiser(target, observed, noise), shape, noise)
        return (answer - goal).square().flatten(1).mean(1)

    def solve(self, denoise: Denoiser, shape: tuple[int, ...], noise: KeyedNoise) -> Tensor:
        """The student's answer to pure noise."""
        sigma_max = self.schedule.std(torch.tensor(1.0)).item()
        x = noise.normal(shape) * sigma_max
        return denoise(x, x.new_tensor(sigma_max))
