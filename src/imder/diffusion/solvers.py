r"""Solvers: from noise to data, each a pure function of a denoiser and one row of `SOLVERS`.

With sigma as the time variable the probability-flow equation of the variance-exploding process is

.. math:: dx / d\sigma = (x - D(x, \sigma)) / \sigma .

`heun` integrates it as it stands (Karras et al. 2022, algorithm 1: second order, two evaluations a step). `dpmpp_2m`
integrates the exponential form in lambda = -ln sigma, where only D varies slowly (Lu et al. 2022, DPM-Solver++ (2M):
second order, one evaluation a step). `euler_maruyama` integrates the reverse-time SDE of the paper, dx = -g(t)^2 score
dt + g(t) dw, in uniform steps of t.

To add a solver, write its function and add a row to `SOLVERS`. Wrap calls in ``torch.no_grad()``: solvers don't.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from imder.diffusion.denoiser import Denoiser
from imder.diffusion.noise import NoiseSource
from imder.diffusion.schedule import VESchedule
from imder.types import ImderError

log = logging.getLogger(__name__)


class _GeneratorNoise:
    """A `torch.Generator` as a noise source."""

    def __init__(self, generator: torch.Generator, like: Tensor) -> None:
        self._generator, self._like = generator, like

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self._generator, device=self._like.device, dtype=self._like.dtype)


def euler_maruyama(
    denoise: Denoiser, x: Tensor, times: Tensor, schedule: VESchedule, generator: torch.Generator | NoiseSource
) -> Tensor:
    """The reverse-time SDE (paper, equation 5) from times[0] to times[-1]; the last step's noise is left out.

    Args:
        denoise: ``(x, sigma) -> E[x0 | x]``.
        x: ``(B, ...)``, noise of deviation std(times[0]).
        times: ``(n,)`` decreasing at equal distances; one evaluation each.
        schedule: gives std(t) and the diffusion coefficient.
        generator: source of the noise.

    Returns:
        The mean of the last step, ``(B, ...)``, as in the released code.
    """
    source = _GeneratorNoise(generator, x) if isinstance(generator, torch.Generator) else generator
    step = times[0] - times[1]
    mean = x
    for t in times.to(x):
        sigma = schedule.std(t)
        score = (denoise(x, sigma) - x) / sigma.square()
        gain = schedule.diffusion(t)
        mean = x + gain.square() * score * step
        x = mean + step.sqrt() * gain * source.normal(tuple(x.shape))
    return mean


def heun(denoise: Denoiser, x: Tensor, sigmas: Tensor) -> Tensor:
    """Heun's method on the probability-flow equation; a step into 0 is a plain denoising step.

    Args:
        denoise: ``(x, sigma) -> E[x0 | x]``.
        x: ``(B, ...)``, noise of deviation sigmas[0].
        sigmas: ``(n + 1,)`` decreasing, the last may be 0; 2 n evaluations (one less when it is).
    """
    sigmas = sigmas.to(x)
    for sigma, sigma_next in itertools.pairwise(sigmas):
        slope = (x - denoise(x, sigma)) / sigma
        x_next = x + (sigma_next - sigma) * slope
        if sigma_next > 0:
            slope_next = (x_next - denoise(x_next, sigma_next)) / sigma_next
            x_next = x + (sigma_next - sigma) * (slope + slope_next) / 2
        x = x_next
    return x


def dpmpp_2m(denoise: Denoiser, x: Tensor, sigmas: Tensor) -> Tensor:
    """DPM-Solver++ (2M) for data prediction; a step into 0 is a plain denoising step.

    Args:
        denoise: ``(x, sigma) -> E[x0 | x]``.
        x: ``(B, ...)``, noise of deviation sigmas[0].
        sigmas: ``(n + 1,)`` decreasing, the last may be 0; n evaluations.
    """
    levels = sigmas.tolist()
    lambdas = [float("inf") if sigma == 0 else -math.log(sigma) for sigma in levels]
    sigmas = sigmas.to(x)
    previous: Tensor | None = None
    for i in range(len(levels) - 1):
        denoised = denoise(x, sigmas[i])
        if levels[i + 1] == 0:
            x = denoised
        else:
            h = lambdas[i + 1] - lambdas[i]
            extrapolated = denoised
            if previous is not None:
                r = (lambdas[i] - lambdas[i - 1]) / h
                extrapolated = denoised + (denoised - previous) / (2 * r)
            ratio = levels[i + 1] / levels[i]
            x = ratio * x + (1 - ratio) * extrapolated
        previous = denoised
    return x


@dataclass(frozen=True)
class Solver:
    """A row of `SOLVERS`.

    Attributes:
        name: in configurations.
        solve: ``(denoise, x, sigmas) -> x`` on a grid of noise levels, ``(denoise, x, times, schedule, noise) -> x`` on a
            grid of times; x is ``(B, ...)``.
        grid: ``sigmas``: noise levels that end in 0; ``times``: equally spaced times.
        least_evaluations: of the denoiser, below which the solver is undefined.
        evaluations_per_step: of the denoiser; the step into 0 takes one.
        advised_evaluations: from which the energy distance to exact draws is within .01 of that of 500 evaluations (solver
            table of docs/quality.md). Fewer are possible, with a warning.
    """

    name: str
    solve: Callable[..., Tensor]
    grid: Literal["sigmas", "times"]
    least_evaluations: int = 1
    evaluations_per_step: int = 1
    advised_evaluations: int = 1

    def check(self, evaluations: int) -> None:
        """Warn of fewer evaluations than advised, once in each process.

        Raises:
            ImderError: fewer evaluations than the solver needs.
        """
        if evaluations < self.least_evaluations:
            raise ImderError(
                f"solver {self.name}: needs {self.least_evaluations} evaluations or more, got {evaluations}"
            )
        if evaluations < self.advised_evaluations:
            _warn_of_few(self.name, evaluations, self.advised_evaluations)


@cache
def _warn_of_few(solver: str, evaluations: int, advised: int) -> None:
    log.warning(
        "solver %s: recoveries are poor samples with %d evaluations (--model.recovery.evaluations); use %d or more",
        solver,
        evaluations,
        advised,
    )


SOLVERS: dict[str, Solver] = {
    solver.name: solver
    for solver in (
        # Unbiased energy distance with 4 / 6 / 500 evaluations: .042 / .023 / .023.
        Solver("dpmpp_2m", dpmpp_2m, "sigmas", advised_evaluations=5),
        # With 10 / 20 / 500: .043 / .024 / .023. Its first steps, at the highest noise levels, overshoot.
        Solver("heun", heun, "sigmas", evaluations_per_step=2, advised_evaluations=20),
        Solver("euler_maruyama", euler_maruyama, "times", least_evaluations=2),
    )
}
"""Solvers by name."""


def solver_named(name: str) -> Solver:
    """A row of `SOLVERS`.

    Raises:
        ImderError: there is no such solver.

    >>> solver_named("heun").evaluations_per_step
    2
    """
    if name not in SOLVERS:
        raise ImderError(f"there is no solver {name!r}; choose from {', '.join(SOLVERS)}")
    return SOLVERS[name]
