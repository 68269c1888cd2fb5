r"""From noise to data: three solvers, each a pure function of a denoiser.

With sigma as the time variable the probability-flow equation of the variance-exploding process is

.. math:: dx / d\sigma = (x - D(x, \sigma)) / \sigma .

`heun` integrates it as it stands (Karras et al. 2022, algorithm 1: second order, two evaluations a step). `dpmpp_2m`
integrates the exponential form in lambda = -ln sigma, where only D varies slowly (Lu et al. 2022, DPM-Solver++ (2M):
second order, one evaluation a step). `euler_maruyama` integrates the reverse-time SDE of the paper, dx = -g(t)^2 score
dt + g(t) dw, in uniform steps of t.

None tracks gradients on its own account: wrap a call in ``torch.no_grad()``.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from imder.diffusion.denoiser import Denoiser
from imder.diffusion.noise import NoiseSource
from imder.diffusion.schedule import VESchedule


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
        times: ``(n,)`` decreasing at equal distances; one evaluation for each.
        schedule: gives std(t) and the diffusion coefficient.
        generator: of the noise.

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
    for now, after in itertools.pairwise(sigmas):
        slope = (x - denoise(x, now)) / now
        ahead = x + (after - now) * slope
        if after > 0:
            ahead = x + (after - now) * (slope + (ahead - denoise(ahead, after)) / after) / 2
        x = ahead
    return x


def dpmpp_2m(denoise: Denoiser, x: Tensor, sigmas: Tensor) -> Tensor:
    """DPM-Solver++ (2M) for data prediction; a step into 0 is a plain denoising step.

    Args:
        denoise: ``(x, sigma) -> E[x0 | x]``.
        x: ``(B, ...)``, noise of deviation sigmas[0].
        sigmas: ``(n + 1,)`` decreasing, the last may be 0; n evaluations.
    """
    levels = sigmas.tolist()
    logs = [float("inf") if s == 0 else -math.log(s) for s in levels]
    sigmas = sigmas.to(x)
    before: Tensor | None = None
    for i in range(len(levels) - 1):
        data = denoise(x, sigmas[i])
        if levels[i + 1] == 0:
            x = data
        else:
            h = logs[i + 1] - logs[i]
            slope = data
            if before is not None:
                ratio = (logs[i] - logs[i - 1]) / h
                slope = data + (data - before) / (2 * ratio)
            shrink = levels[i + 1] / levels[i]
            x = shrink * x + (1 - shrink) * slope
        before = data
    return x
