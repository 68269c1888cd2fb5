r"""Denoising score matching (paper, equations 4 and 7), with the condition noised in one of three ways.

A score network gets x_t = x_0 + std(t) z and estimates grad log p(x_t); its regression target is -z / std(t):

.. math:: L = E || std(t) s(x_t, c_t, t) + z ||^2 .

The noise of the condition c_t decides what the network learns:

* ``clean``: c itself. The network learns the score of p(x | c), and keys and values can be computed once.
* ``independent``: c + std(t) z' with fresh z' (the paper as written).
* ``shared``: c + std(t) z with the *same* z (the released code). At this loss's optimum the network reads the noise off
  the condition; sampling, where the noises differ, then yields recoveries that anti-correlate with the condition.

The EDM form of the same loss weights each noise level so that the network's own target has variance one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from imder.diffusion.denoiser import edm_coefficients, per_row
from imder.diffusion.noise import NoiseSource

ConditionNoise = Literal["clean", "independent", "shared"]


def condition_noise(
    mode: ConditionNoise, condition: Tensor, std: Tensor, *, target_noise: Tensor | None, source: NoiseSource
) -> Tensor:
    """The condition ``(B, ...)`` as the score network sees it at noise level ``std`` (B,).

    ``target_noise`` is the z added to the target, used by ``shared`` in the loss; None when sampling, where there is no
    single z: then ``shared`` draws fresh noise, as the released sampler does.
    """
    if mode == "clean":
        return condition
    if mode == "shared" and target_noise is not None:
        noise = target_noise
    else:
        noise = source.normal(tuple(condition.shape))
    return condition + per_row(std, condition) * noise


def score_matching_loss(score: Tensor, noise: Tensor, std: Tensor) -> Tensor:
    """``(B,)``: || std score + z ||^2 summed over all but the batch (released code: then averaged over the batch)."""
    return (per_row(std, score) * score + noise).square().flatten(1).sum(1)


def edm_loss(
    network: Callable[[Tensor, Tensor], Tensor],
    clean: Tensor,
    sigma: Tensor,
    noise: Tensor,
    mask: Tensor | None = None,
    sigma_data: float = 1.0,
) -> Tensor:
    """``(B,)``: mean over valid elements of (F(c_in x, c_noise) - target)^2 (Karras et al. 2022, equation 8).

    Args:
        network: F, taking ``(B, ...)`` and c_noise ``(B,)``.
        clean: x_0, ``(B, ...)``.
        sigma: noise levels ``(B,)``.
        noise: z, shaped like ``clean``.
        mask: bool, broadcastable to ``clean``; False marks padding. Every row has at least one valid element.
        sigma_data: deviation of the data.
    """
    c_skip, c_out, c_in, c_noise = edm_coefficients(sigma, sigma_data)
    if mask is not None:  # whatever padding holds, NaN included
        clean, noise = torch.where(mask, clean, 0.0), torch.where(mask, noise, 0.0)
    noisy = clean + per_row(sigma, clean) * noise
    target = (clean - per_row(c_skip, clean) * noisy) / per_row(c_out, clean)
    error = (network(per_row(c_in, clean) * noisy, c_noise) - target).square()
    if mask is None:
        return error.flatten(1).mean(1)
    valid = torch.broadcast_to(mask, error.shape)
    return torch.where(valid, error, 0.0).flatten(1).sum(1) / valid.flatten(1).sum(1)
