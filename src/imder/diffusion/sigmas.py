"""Where a solver evaluates the denoiser: decreasing noise levels, or decreasing times.

A grid of noise levels may end in 0: the step into it replaces x by the denoiser's answer, which costs one evaluation
and removes the noise of the last level. The number of evaluations of a first- or multistep solver is len(grid) - 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def log_uniform_sigmas(evaluations: int, sigma_max: float, sigma_min: float, *, end_in_zero: bool = True) -> Tensor:
    """``(evaluations + 1,)``: equal ratios from ``sigma_max`` to ``sigma_min``, then 0.

    With ``end_in_zero=False`` the grid stops at ``sigma_min``.

    >>> [round(s, 3) for s in log_uniform_sigmas(3, 1.0, 0.01).tolist()]
    [1.0, 0.1, 0.01, 0.0]
    """
    levels = _levels(evaluations, sigma_max, sigma_min, end_in_zero)
    sigmas = torch.exp(torch.linspace(math.log(sigma_max), math.log(sigma_min), levels, dtype=torch.float64)).float()
    return torch.cat([sigmas, sigmas.new_zeros(1)]) if end_in_zero else sigmas


def karras_sigmas(
    evaluations: int, sigma_max: float, sigma_min: float, rho: float = 7.0, *, end_in_zero: bool = True
) -> Tensor:
    """``(evaluations + 1,)``: equal steps of sigma^(1 / rho) (Karras et al. 2022, equation 5), then 0."""
    levels = _levels(evaluations, sigma_max, sigma_min, end_in_zero)
    ramp = torch.linspace(sigma_max ** (1 / rho), sigma_min ** (1 / rho), levels)
    sigmas = ramp**rho
    return torch.cat([sigmas, sigmas.new_zeros(1)]) if end_in_zero else sigmas


def uniform_times(steps: int, sigma_min: float = 1e-3) -> Tensor:
    """``(steps,)`` times from 1 to ``sigma_min`` at equal distances: the released code's grid for `euler_maruyama`."""
    if steps < 2:
        raise ValueError(f"Euler-Maruyama needs at least 2 steps, got {steps}")
    return torch.linspace(1.0, sigma_min, steps)


def _levels(evaluations: int, sigma_max: float, sigma_min: float, end_in_zero: bool) -> int:
    if evaluations < 1 or not 0 < sigma_min < sigma_max:
        raise ValueError(
            f"need evaluations >= 1 and 0 < sigma_min < sigma_max, got {evaluations}, {sigma_min}, {sigma_max}"
        )
    return evaluations if end_in_zero else evaluations + 1
