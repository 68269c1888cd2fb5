r"""Sequences of any length to a fixed number of steps, by area.

A sequence of T frames is a function that is constant on T equal intervals of [0, 1]; step i of L is its mean
over the i-th of L equal intervals. The map is linear, the identity when T = L, keeps the mean over time exactly,
repeats frames when T < L (T = 1 included) and averages neighbours when T > L. Only valid frames take part, so padding
has no effect.
"""

from __future__ import annotations

import torch
from torch import Tensor


def resample_weights(lengths: Tensor, frames: int, steps: int) -> Tensor:
    """``(B, steps, frames)``: row i holds the share of each frame in step i; zero beyond a sample's length.

    Args:
        lengths: ``(B,)`` valid frames; 0 gives zero weights.
        frames: padded length of the input.
        steps: length of the output.

    >>> resample_weights(torch.tensor([2]), 3, 4)[0].tolist()
    [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
    """
    valid = lengths.clamp(min=1).double()[:, None, None]
    step = torch.arange(steps, device=lengths.device, dtype=torch.float64)[None, :, None] / steps
    frame = torch.arange(frames, device=lengths.device, dtype=torch.float64)[None, None, :] / valid
    overlap = torch.minimum(step + 1 / steps, frame + 1 / valid) - torch.maximum(step, frame)
    inside = torch.arange(frames, device=lengths.device)[None, None, :] < lengths[:, None, None]
    return (overlap.clamp(min=0) * steps * inside).float()


def resample(x: Tensor, lengths: Tensor, steps: int) -> Tensor:
    """``(B, T, C)`` with ``lengths`` (B,) valid frames to ``(B, steps, C)``."""
    if x.shape[1] == 1 and steps == 1:
        return x * (lengths > 0)[:, None, None]
    return resample_weights(lengths, x.shape[1], steps).to(x) @ x


def shorten(x: Tensor, lengths: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Resample the sequences that have more than ``steps`` frames; the others stay as they are.

    Args:
        x: ``(B, T, C)``.
        lengths: ``(B,)`` valid frames.
        steps: the most frames of a result.

    Returns:
        ``(B, min(T, steps), C)`` and its valid frames ``(B,)``.
    """
    if x.shape[1] <= steps:
        return x, lengths
    long = (lengths > steps)[:, None, None]
    return torch.where(long, resample(x, lengths, steps), x[:, :steps]), lengths.clamp(max=steps)


def frame_mask(lengths: Tensor, frames: int) -> Tensor:
    """``(B, frames)`` bool: which frames are valid."""
    return torch.arange(frames, device=lengths.device)[None] < lengths[:, None]
