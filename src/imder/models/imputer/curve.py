r"""A smooth curve through a sequence, from a fixed number of knots.

    knots   k_i = mean of x over the i-th of S equal parts of the clip           (`imder.nn.resample`)
    curve   c_t = sum_i W_ti k_i,    W = H - (mean over t of H) + 1 / S

H interpolates linearly between the centres of the parts and is constant beyond the outer ones. The other two terms give the
curve the mean of the knots, which is the mean of the sequence, whatever T is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from imder.nn.resample import frame_mask


def curve_weights(lengths: Tensor, frames: int, knots: int) -> Tensor:
    """W ``(B, frames, knots)`` for sequences of ``lengths`` (B,) valid frames; zero beyond them.

    >>> w = curve_weights(torch.tensor([4, 1]), 4, 2)
    >>> w[0, :, 0].tolist(), w[1, 0].tolist()
    ([1.0, 0.75, 0.25, 0.0], [0.5, 0.5])
    """
    valid = lengths.clamp(min=1).double()[:, None]
    centre = torch.arange(frames, device=lengths.device, dtype=torch.float64)[None] + 0.5
    position = (centre / valid * knots - 0.5).clamp(0, knots - 1)
    knot = torch.arange(knots, device=lengths.device, dtype=torch.float64)
    hat = (1 - (position[..., None] - knot).abs()).clamp(min=0)
    mask = frame_mask(lengths, frames)[..., None]
    mean = (hat * mask).sum(1, keepdim=True) / valid[..., None]
    return ((hat - mean + 1 / knots) * mask).float()
