r"""The residual of a sequence about its curve: AR(1) noise in each channel with exactly the wanted statistics over time.

    v = mean_t (x_t - mean x)^2,    q = mean_t (x_t - x_{t-1})^2                  of T frames

    e_t = rho e_{t-1} + sqrt(1 - rho^2) w_t,    e' = a (e + b g),    g_t = e_t - (e_{t-1} + e_{t+1}) / 2

rho comes from the expectation q / v = 2 (1 - rho) / s_T(rho), s_T(rho) = 1 - T^-2 sum_ij rho^|i-j|, which decreases in rho and
is solved by bisection. A single draw misses v and q by its sampling error: q and v of e' are quadratic in b, which makes
q / v exact where it can (the root nearer to 0, in `PASSES` steps), and a makes v exact. e and g are first made orthogonal to
a constant, to the curve c and to its second differences, so that v and q of c + e' are the sums of theirs.
"""

from __future__ import annotations

import torch
from torch import Tensor

MOST_RHO = 0.995
BISECTIONS = 12
PASSES = 2
LEAST_LEFT = 1e-2
"""Smallest share of the noise's variance that a pass may leave."""

MOST_ROUGHENING = 4.0
"""Largest b either way."""


def time_moments(x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """V and q ``(B, D)`` of ``(B, T, D)``, which is 0 beyond ``lengths`` (B,).

    >>> time_moments(torch.tensor([[[0.0], [1.0], [2.0], [0.0]]]), torch.tensor([3]))
    (tensor([[0.6667]]), tensor([[1.]]))
    """
    mask = frame_mask_of(x, lengths)
    frames = lengths.clamp(min=1)[:, None]
    centred = (x - x.sum(1, keepdim=True) / frames[:, None]).mul_(mask)
    steps = (x[:, 1:] - x[:, :-1]).mul_(mask[:, 1:])
    return _dot(centred, centred) / frames, _dot(steps, steps) / (frames - 1).clamp(min=1)


def frame_mask_of(x: Tensor, lengths: Tensor) -> Tensor:
    """``(B, T, 1)`` in the dtype of x: 1 in valid frames."""
    return (torch.arange(x.shape[1], device=x.device)[None] < lengths[:, None])[..., None].to(x.dtype)


def autoregressive(innovations: Tensor, rho: Tensor) -> Tensor:
    """AR(1) processes ``(R, T, D)`` of deviation 1 with autocorrelations ``(R, D)``, in place of their innovations."""
    scale = (1 - rho.square()).sqrt()
    for t in range(1, innovations.shape[1]):
        innovations[:, t].mul_(scale).addcmul_(rho, innovations[:, t - 1])
    return innovations


def variance_share(rho: Tensor, lengths: Tensor) -> Tensor:
    """s_T(rho): the expected variance about a clip's own mean, of an AR(1) process with variance 1.

    >>> variance_share(torch.tensor([0.0, 0.9]), torch.tensor([4, 1])).round(decimals=3).tolist()
    [0.75, 0.0]
    """
    near = 2 * rho * (1 - rho**lengths) / (1 - rho).square()
    return (1 - (lengths * (1 + rho) / (1 - rho) - near) / lengths.square()).clamp(min=0)


def autocorrelation(ratio: Tensor, lengths: Tensor) -> Tensor:
    """Rho of clips with q / v = ``ratio``, at most `MOST_RHO` either way; 0 where ``lengths`` are below 3.

    >>> ratio = 2 * (1 - 0.9) / variance_share(torch.tensor([0.9]), torch.tensor([60]))
    >>> autocorrelation(ratio, torch.tensor([60])).round(decimals=2)
    tensor([0.9000])
    """
    low, high = torch.full_like(ratio, -MOST_RHO), torch.full_like(ratio, MOST_RHO)
    frames = lengths.clamp(min=3).to(ratio)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        rougher = 2 * (1 - middle) > ratio * variance_share(middle, frames)
        low, high = torch.where(rougher, middle, low), torch.where(rougher, high, middle)
    return torch.where(lengths > 2, (low + high) / 2, 0.0)


def shaped(e: Tensor, curve: Tensor, lengths: Tensor, variance: Tensor, roughness: Tensor) -> Tensor:
    """Noise e' ``(R, T, D)`` with v = ``variance`` and, where it can be had, q = ``roughness``.

    Args:
        e: ``(R, T, D)``, unscaled.
        curve: ``(R, T, D)``, of mean 0 over time, 0 beyond lengths.
        lengths: ``(R,)``.
        variance: ``(R, D)``.
        roughness: ``(R, D)``. Too few frames to be orthogonal to the curve: noise that is not.
    """
    mask = frame_mask_of(e, lengths)
    e = e * mask
    frames = lengths.clamp(min=1)[:, None, None]
    e = (e - e.sum(1, keepdim=True) / frames) * mask
    whole = _bend(curve, mask)
    bend = _orthogonal(whole, curve)
    bend = torch.where(
        (_dot(bend, bend) > 1e-6 * _dot(whole, whole))[:, None], bend, 0.0
    )  # else rounding: no direction
    smooth = _orthogonal(_orthogonal(e, curve), bend)
    smooth = torch.where((_dot(smooth, smooth) > 1e-3 * _dot(e, e))[:, None], smooth, e)
    count = lengths[:, None].to(e.dtype)
    total, step_total = variance * count, roughness * (count - 1).clamp(min=1)
    for _ in range(PASSES):
        rough = _orthogonal(_orthogonal(_bend(smooth, mask), curve), bend)
        v, q = (_quadratic(smooth, rough, mask, steps) for steps in (False, True))
        b = _nearer_root(*(qi * total - vi * step_total for qi, vi in zip(q, v, strict=True)))
        left = v[0] + 2 * b * v[1] + b.square() * v[2]
        b = torch.where(left > LEAST_LEFT * v[0], b, 0.0)  # in two frames g is e
        smooth = torch.addcmul(smooth, b[:, None], rough)
    power = _dot(smooth, smooth)
    return smooth * ((total / power.clamp(min=1e-30)).sqrt() * (power > 1e-12))[:, None]


def _bend(x: Tensor, mask: Tensor) -> Tensor:
    """The part of x ``(R, T, D)`` that successive differences weigh: half the sum of differences to both neighbours."""
    steps = (x[:, 1:] - x[:, :-1]).mul_(mask[:, 1:] / 2)
    out = torch.zeros_like(x)
    out[:, 1:] = steps
    out[:, :-1] -= steps
    return out


def _orthogonal(x: Tensor, direction: Tensor) -> Tensor:
    share = _dot(x, direction) / _dot(direction, direction).clamp(min=1e-20)
    return torch.addcmul(x, direction, share[:, None], value=-1)


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """Sums over time ``(R, D)``."""
    return (x * y).sum(1)


def _quadratic(x: Tensor, y: Tensor, mask: Tensor, steps: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over time of x^2, x y and y^2, of successive differences with ``steps``."""
    if steps:
        x, y = ((each[:, 1:] - each[:, :-1]).mul_(mask[:, 1:]) for each in (x, y))
    return _dot(x, x), _dot(x, y), _dot(y, y)


def _nearer_root(c: Tensor, half_b: Tensor, a: Tensor) -> Tensor:
    """The root nearer to 0 of c + 2 half_b x + a x^2, or the vertex where there is none; at most `MOST_ROUGHENING`."""
    root = (half_b.square() - a * c).clamp(min=0).sqrt()
    sum_ = half_b + torch.where(half_b < 0, -root, root)
    x = torch.where(sum_ != 0, -c / torch.where(sum_ != 0, sum_, 1.0), 0.0)
    return x.nan_to_num().clamp(-MOST_ROUGHENING, MOST_ROUGHENING)
