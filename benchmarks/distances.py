"""Two-sample distances between S draws and S draws, row by row, averaged over rows.

Both compare empirical distributions, so they are positive even between two samples of one distribution; the distance between
two sets of exact draws is the *floor*. It is no lower bound: draws that are slightly too narrow can be closer, so read a
distance together with the ratio of variances. The unbiased energy distance has expectation 0 for equal distributions and is
positive otherwise.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def sliced_wasserstein(x: NDArray[np.floating], y: NDArray[np.floating], slices: int = 256, seed: int = 0) -> float:
    """The 2-Wasserstein distance along random directions: root of the mean square over directions and rows.

    ``x`` and ``y`` are ``(S, R, F)``; ``slices`` directions, one set for all rows, come from ``seed``. In the coordinates'
    own unit: a shift by d of every coordinate is a distance d.
    """
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(x.shape[-1], slices, generator=generator)
    directions /= directions.norm(dim=0)
    a, b = (torch.as_tensor(v, dtype=torch.float32) @ directions for v in (x, y))
    return float((a.sort(0).values - b.sort(0).values).square().mean().sqrt())


def energy_distance(x: NDArray[np.floating], y: NDArray[np.floating], unbiased: bool = False) -> float:
    """2 E|x - y| - E|x - x'| - E|y - y'| over all pairs of draws of a row (Szekely and Rizzo 2013), mean over rows.

    ``x`` and ``y`` are ``(S, R, F)``; distances are Euclidean, divided by sqrt(F). ``unbiased`` leaves out the pairs of a draw
    with itself.
    """
    a, b = (torch.as_tensor(v, dtype=torch.float32).transpose(0, 1).contiguous() for v in (x, y))

    def apart(u: Tensor, v: Tensor) -> float:
        return float(torch.cdist(u, v, compute_mode="donot_use_mm_for_euclid_dist").mean())

    def within(u: Tensor) -> float:
        count = u.shape[1]
        return apart(u, u) * (count / (count - 1) if unbiased else 1.0)

    return float((2 * apart(a, b) - within(a) - within(b)) / x.shape[-1] ** 0.5)
