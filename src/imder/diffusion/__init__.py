"""Diffusion as pure parts that know nothing of emotion: schedule, noise, denoiser, loss, grids and solvers.

Any ``(B, ...)`` tensor will do. A denoiser is any callable ``(x, sigma) -> E[x0 | x]``; a solver is a function of a
denoiser; the three meet only where they are called.
"""

from imder.diffusion.denoiser import Denoiser, edm_denoiser, score_denoiser
from imder.diffusion.loss import condition_noise, edm_loss, score_matching_loss
from imder.diffusion.noise import KeyedNoise, NoiseSource
from imder.diffusion.schedule import VESchedule
from imder.diffusion.sigmas import karras_sigmas, log_uniform_sigmas, uniform_times
from imder.diffusion.solvers import dpmpp_2m, euler_maruyama, heun

__all__ = [
    "Denoiser",
    "KeyedNoise",
    "NoiseSource",
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
