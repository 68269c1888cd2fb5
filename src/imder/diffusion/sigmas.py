"""Grids: the decreasing noise levels, or times, at which a solver evaluates the denoiser.

A grid of noise levels may end in 0. The step into 0 replaces x by the denoiser's output, which costs one evaluation and
removes the noise of the last level. A solver with one evaluation a step uses len(grid) - 1 evaluations.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def log_uniform_sigmas(steps: int, sigma_max: float, sigma_min: float, *, end_in_zero: bool = True) -> Tensor:
    """``(steps + 1,)``: equal ratios from ``sigma_max`` to ``sigma_min``, then 0.

    With ``end_in_zero=False`` the grid stops at ``sigma_min``.

    >>> [round(s, 3) for s in log_uniform_sigmas(3, 1.0, 0.01).tolist()]
    [1.0, 0.1, 0.01, 0.0]
    """
    count = _positive_levels(steps, sigma_max, sigma_min, end_in_zero)
    sigmas = torch.exp(torch.linspace(math.log(sigma_max), math.log(sigma_min), count, dtype=torch.float64)).float()
    return torch.cat([sigmas, sigmas.new_zeros(1)]) if end_in_zero else sigmas


def karras_sigmas(
    steps: int, sigma_max: float, sigma_min: float, rho: float = 7.0, *, end_in_zero: bool = True
) -> Tensor:
    """``(steps + 1,)``: equal steps of sigma^(1 / rho) (Karras et al. 2022, equation 5), then 0."""
    count = _positive_levels(steps, sigma_max, sigma_min, end_in_zero)
    sigmas = torch.linspace(sigma_max ** (1 / rho), sigma_min ** (1 / rho), count) ** rho
    return torch.cat([sigmas, sigmas.new_zeros(1)]) if end_in_zero else sigmas


def uniform_times(steps: int, time_min: float = 1e-3) -> Tensor:
    """``(steps,)`` times from 1 to ``time_min`` at equal distances: the released code's grid for `euler_maruyama`."""
    if steps < 2:
        raise ValueError(f"Euler-Maruyama needs at least 2 steps, got {steps}")
    return torch.linspace(1.0, time_min, steps)


def _positive_levels(steps: int, sigma_max: float, sigma_min: float, end_in_zero: bool) -> int:
    """How many noise levels of a grid are above 0."""
    if steps < 1 or not 0 < sigma_min < sigma_max:
        raise ValueError(f"need steps >= 1 and 0 < sigma_min < sigma_max, got {steps}, {sigma_min}, {sigma_max}")
    return steps if end_in_zero else steps + 1
