"""Sampling: pure noise, a grid and a solver of `imder.diffusion.solvers.SOLVERS`.

At the largest noise level x is the data's mean plus noise. A start of the probability flow that takes the mean to be 0 leaves
std(x0) / std(1) of the mean, 5 to 10 % here, as an error in the sample. The denoiser's output at that level *is* the mean, so
solvers of the flow spend their first evaluation on adding it to the start.

They end at `SIGMA_MIN` and return the denoiser's output there. Below it little is left to decide unless the distribution
is very narrow: the last step leaves out SIGMA_MIN^2 / (SIGMA_MIN^2 + d^2) of the variance of data of deviation d, 3 % for
d = 0.3. The evaluations saved go to the noise levels at which samples separate.
"""

from __future__ import annotations

import torch
from torch import Tensor

from imder.diffusion.denoiser import Denoiser
from imder.diffusion.noise import NoiseSource
from imder.diffusion.schedule import VESchedule
from imder.diffusion.sigmas import log_uniform_sigmas, uniform_times
from imder.diffusion.solvers import solver_named

TIME_MIN = 1e-3
"""Time at which solvers in time end (released code)."""
SIGMA_MIN = 0.05
"""Noise level from which solvers of the flow denoise in one step."""


def sample(
    denoise: Denoiser,
    shape: tuple[int, ...],
    noise: NoiseSource,
    schedule: VESchedule,
    solver: str = "dpmpp_2m",
    evaluations: int = 8,
) -> Tensor:
    """One sample for each row, ``shape`` = (B, ...).

    Args:
        denoise: ``(x, sigma) -> E[x0 | x]``.
        shape: of the samples.
        noise: of the start, and of every step of a stochastic solver.
        schedule: gives the start's deviation std(1).
        solver: a name of `SOLVERS`.
        evaluations: of ``denoise``; a solver with two a step uses an even number, or one.

    Raises:
        ImderError: there is no such solver, or it needs more evaluations.
    """
    method = solver_named(solver)
    method.check(evaluations)
    sigma_max = schedule.std(torch.tensor(1.0)).item()
    x = noise.normal(shape) * sigma_max
    if method.grid == "times":
        return method.solve(denoise, x, uniform_times(evaluations, TIME_MIN), schedule, noise)
    if evaluations > 1:
        x = x + denoise(x, x.new_tensor(sigma_max))
        evaluations -= 1
    steps = -(-evaluations // method.evaluations_per_step)
    return method.solve(denoise, x, log_uniform_sigmas(steps, sigma_max, SIGMA_MIN))
