r"""From a network to a denoiser (x, sigma) -> E[x0 | x0 + sigma z = x].

Two preconditionings:

* EDM (Karras et al. 2022, table 1): D = c_skip x + c_out F(c_in x, ln(sigma) / 4) with, for data of deviation s,
  c_skip = s^2 / (sigma^2 + s^2), c_out = sigma s / sqrt(sigma^2 + s^2), c_in = 1 / sqrt(sigma^2 + s^2): input and
  target of F have variance one at every noise level.
* score: the published network outputs the score; Tweedie's formula gives D = x + sigma^2 score.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""``(x (B, ...), sigma () or (B,)) -> (B, ...)``, the mean of x0 given x."""


def per_row(sigma: Tensor, x: Tensor) -> Tensor:
    """``sigma`` () or (B,), reshaped to multiply ``x`` (B, ...) row by row."""
    return sigma.reshape(-1, *[1] * (x.ndim - 1))


def edm_coefficients(sigma: Tensor, sigma_data: float = 1.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(c_skip, c_out, c_in, c_noise), each of sigma's shape (Karras et al. 2022, table 1)."""
    total = (sigma.square() + sigma_data**2).sqrt()
    return (sigma_data / total).square(), sigma * sigma_data / total, 1 / total, sigma.log() / 4


def edm_denoiser(network: Callable[[Tensor, Tensor], Tensor], sigma_data: float = 1.0) -> Denoiser:
    """The denoiser of a network F(c_in x, c_noise); c_noise is ``(B,)``, or ``(1,)`` if all rows share a level."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        c_skip, c_out, c_in, c_noise = edm_coefficients(sigma.reshape(-1), sigma_data)
        return per_row(c_skip, x) * x + per_row(c_out, x) * network(per_row(c_in, x) * x, c_noise)

    return denoise


def score_denoiser(score: Callable[[Tensor, Tensor], Tensor]) -> Denoiser:
    """The denoiser of a score function s(x, sigma (B,)): Tweedie's formula."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        sigma = sigma.expand(x.shape[0])
        return x + per_row(sigma.square(), x) * score(x, sigma)

    return denoise
