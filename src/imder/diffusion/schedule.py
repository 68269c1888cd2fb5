r"""The variance-exploding schedule of the paper.

The forward process is :math:`dx = \sigma^t dw` for t in [0, 1], so that x(t) = x(0) + std(t) z with

.. math:: std(t)^2 = \int_0^t \sigma^{2s} ds = (\sigma^{2t} - 1) / (2 \ln \sigma).

Its inverse is t(s) = log(1 + 2 s^2 ln sigma) / (2 ln sigma). expm1 and log1p keep both exact near t = 0, where the
plain formulas cancel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class VESchedule:
    """dx = sigma^t dw (paper, section 3.2; sigma = 25 in the supplement's table 1).

    >>> schedule = VESchedule(25.0)
    >>> round(float(schedule.std(torch.tensor(1.0))), 3), round(float(schedule.std(torch.tensor(1e-3))), 4)
    (9.845, 0.0317)
    """

    sigma: float = 25.0

    def __post_init__(self) -> None:
        if not self.sigma > 1:
            raise ValueError(f"sigma must exceed 1, got {self.sigma}")

    @property
    def _rate(self) -> float:
        return 2 * math.log(self.sigma)

    def std(self, t: Tensor) -> Tensor:
        """Standard deviation of x(t) given x(0), any shape."""
        return torch.sqrt(torch.expm1(self._rate * t) / self._rate)

    def time(self, std: Tensor) -> Tensor:
        """The t at which the standard deviation is ``std``; the inverse of `std`."""
        return torch.log1p(self._rate * std.square()) / self._rate

    def diffusion(self, t: Tensor) -> Tensor:
        """The diffusion coefficient sigma^t."""
        return torch.exp(0.5 * self._rate * t)
