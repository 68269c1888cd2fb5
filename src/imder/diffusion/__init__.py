"""Diffusion on any ``(B, ...)`` tensor: schedule, noise, denoisers, losses, grids, solvers.

A denoiser is any callable ``(x, sigma) -> E[x0 | x]``. A solver takes a denoiser and knows nothing of networks or conditions.
"""

from imder.diffusion.denoiser import Denoiser, edm_denoiser, score_denoiser
from imder.diffusion.loss import condition_noise, edm_loss, score_matching_loss
from imder.diffusion.noise import KeyedNoise, NoiseSource
from imder.diffusion.schedule import VESchedule
from imder.diffusion.sigmas import karras_sigmas, log_uniform_sigmas, uniform_times
from imder.diffusion.solvers import SOLVERS, Solver, dpmpp_2m, euler_maruyama, heun

__all__ = [
    "SOLVERS",
    "Denoiser",
    "KeyedNoise",
    "NoiseSource",
    "Solver",
    "VESchedule",
    "condition_noise",
    "dpmpp_2m",
    "edm_denoiser",
    "edm_loss",
    "euler_maruyama",
    "heun",
    "karras_sigmas",
    "log_uniform_sigmas",
    "score_denoiser",
    "score_matching_loss",
    "uniform_times",
]
