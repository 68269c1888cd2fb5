r"""Principal components: a vector of N values in at most `width` standardised columns, and noise for the part outside.

    u = (V^T (x - m) / s) / d,    x ~ m + s (V (d u)) + noise

m is the mean, s the values' deviations (1 unless ``standardized``), V the leading components and d their deviations over the
training rows. A vector of at most ``width`` values keeps its own columns: V = I, and there is no noise. Columns that don't
vary, or by no more than rounding, are 0: divided by d, rounding would be as large as anything else. The noise has the
covariance of the training rows' part outside V (`CorrelatedNoise`).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.extmath import randomized_svd
from torch import Tensor, nn

EXACT = 512
"""Up to this many rows or columns the decomposition is exact, beyond it is randomised (Halko et al., 2011)."""

NEGLIGIBLE = 1e-6
"""Deviation of rounding relative to a value's mean."""
FARTHEST = 300.0
"""Bound of columns, in deviations: beyond, what a column tells of others would be the rounding of a huge number."""
LEAST_SHARE = 1e-5
"""Deviation of rounding relative to the largest deviation of all columns."""


class PrincipalComponents(nn.Module):
    """Codes of vectors; 0 until fitted.

    Args:
        inputs: N.
        width: largest number of columns.
        standardized: whether each value is divided by its own deviation first.
    """

    center: Tensor
    spread: Tensor
    basis: Tensor
    deviation: Tensor

    def __init__(self, inputs: int, width: int, standardized: bool = False) -> None:
        super().__init__()
        self.width, self.is_identity, self.standardized = min(inputs, width), inputs <= width, standardized
        self.register_buffer("center", torch.zeros(inputs))
        self.register_buffer("spread", torch.ones(inputs))
        self.register_buffer("basis", torch.zeros(0 if self.is_identity else inputs, self.width))
        self.register_buffer("deviation", torch.zeros(self.width))

    def fit(self, rows: Tensor, seed: int) -> None:
        """Fit to ``(n, N)`` finite rows, in float64."""
        x = rows.cpu().double()
        center = x.mean(0)
        x = x - center
        spread = _deviation(x, center) if self.standardized else torch.ones_like(center)
        x = x / torch.where(spread > 0, spread, 1.0)
        self.center.copy_(center)
        self.spread.copy_(spread)
        if not self.is_identity:
            basis = torch.from_numpy(_leading(x.numpy(), self.width, seed))
            self.basis.zero_()
            self.basis[:, : basis.shape[1]] = basis
            scores = x @ basis
            self.deviation.zero_()
            self.deviation[: basis.shape[1]] = _deviation(scores, torch.zeros_like(scores[0]))
        else:
            self.deviation.copy_(_deviation(x, center))

    def encode(self, x: Tensor) -> Tensor:
        """Columns ``(B, width)`` of ``(B, N)``."""
        x = (x - self.center) / torch.where(self.spread > 0, self.spread, 1.0)
        scores = x if self.is_identity else x @ self.basis
        varies = self.deviation > 0
        columns = (scores / torch.where(varies, self.deviation, 1.0)).clamp(-FARTHEST, FARTHEST)
        return torch.where(varies, columns, 0.0)

    def decode(self, columns: Tensor) -> Tensor:
        """The part ``(B, N)`` that columns ``(B, width)`` tell."""
        scores = columns * self.deviation
        return self.center + self.spread * (scores if self.is_identity else scores @ self.basis.T)


def _deviation(centred: Tensor, center: Tensor) -> Tensor:
    """Deviations of centred rows; 0 where they are rounding."""
    deviation = centred.square().mean(0).sqrt()
    least = torch.maximum(NEGLIGIBLE * center.abs().clamp(min=NEGLIGIBLE), LEAST_SHARE * deviation.max())
    return torch.where(deviation > least, deviation, 0.0)


def _leading(centred: NDArray[np.float64], width: int, seed: int) -> NDArray[np.float64]:
    """The leading right singular vectors ``(N, at most width)``, signs fixed."""
    if min(centred.shape) <= EXACT:
        vectors = np.linalg.svd(centred, full_matrices=False)[2][:width]
        signs = np.sign(vectors[np.arange(len(vectors)), np.abs(vectors).argmax(1)])
        vectors = vectors * np.where(signs == 0, 1, signs)[:, None]
    else:
        vectors = randomized_svd(centred, width, random_state=seed % 2**32)[2]
    return np.asarray(vectors.T, dtype=np.float64)
