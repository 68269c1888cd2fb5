"""From pure noise to a draw: the start, the grid and the solver of `imder.diffusion.solvers` put together.

At the largest noise level x is the mean plus noise, and the flow that leads from there to data keeps std(x0) / std(1) of any
error in the start, 5 to 10 % here: too much for a mean that is taken to be 0. The denoiser's answer at that level *is* the
mean, so solvers of the flow spend their first evaluation on putting x where it belongs.

At the other end they stop at a deviation of 0.05 and take the denoiser's answer. Below it little is left to decide
unless the law that is drawn from is very narrow (of deviation d, the last step leaves out 0.05^2 / (0.05^2 + d^2) of the
variance: 3 % where d is 0.3), and evaluations that aren't spent there are spent where draws come apart.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from imder.diffusion.denoiser import Denoiser
from imder.diffusion.noise import NoiseSource
from imder.diffusion.schedule import VESchedule
from imder.diffusion.sigmas import log_uniform_sigmas, uniform_times
from imder.diffusion.solvers import dpmpp_2m, euler_maruyama, heun

SMALLEST_TIME = 1e-3  # where Euler-Maruyama ends (released code)
SMALLEST_SIGMA = 0.05  # from where solvers of the flow denoise in one step

Solver = Literal["dpmpp_2m", "heun", "euler_maruyama"]


def sample(
    denoise: Denoiser,
    shape: tuple[int, ...],
    noise: NoiseSource,
    schedule: VESchedule,
    solver: Solver = "dpmpp_2m",
    evaluations: int = 8,
) -> Tensor:
    """One draw for each row, ``shape`` = (B, ...).

    Args:
        denoise: ``(x, sigma) -> E[x0 | x]``.
        shape: of the draws.
        noise: of the start, and of every step where the solver needs it.
        schedule: from std(1) down.
        solver: who draws.
        evaluations: of ``denoise``; Heun's method uses an even number, or one.
    """
    start = schedule.std(torch.tensor(1.0)).item()
    x = noise.normal(shape) * start
    if solver == "euler_maruyama":
        return euler_maruyama(denoise, x, uniform_times(evaluations, SMALLEST_TIME), schedule, noise)
    if evaluations > 1:
        x = x + denoise(x, x.new_tensor(start))
        evaluations -= 1
    if solver == "heun":
        return heun(denoise, x, log_uniform_sigmas((evaluations + 1) // 2, start, SMALLEST_SIGMA))
    return dpmpp_2m(denoise, x, log_uniform_sigmas(evaluations, start, SMALLEST_SIGMA))
