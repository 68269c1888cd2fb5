"""Proper scores of predictive distributions: lower is better, and the true distribution has the lowest expected score.

The continuous ranked probability score of a distribution F for a label y is

    CRPS(F, y) = integral (F(v) - [v >= y])^2 dv = E|X - y| - E|X - X'| / 2,    X, X' ~ F independent

(Gneiting and Raftery, JASA 2007, equation 21). It has the label's units and equals the absolute error where F is a
single point. For n equally weighted points in increasing order x_1 <= ... <= x_n the second term is a sum over them alone,

    E|X - X'| / 2 = 1 / n^2 sum_i (2 i - n - 1) x_i,

so the cost is that of sorting. For class probabilities the score is the negative log-likelihood -ln p_y.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MIN_PROBABILITY = 1e-12
"""Lower bound of probabilities in logarithms: one certain mistake must not make a mean infinite."""


def crps(points: Array, labels: Array, *, in_order: bool = False) -> Array:
    """The exact score of equally weighted points.

    Args:
        points: ``(M, n)``.
        labels: ``(M,)``.
        in_order: whether each row of points is already sorted.

    Returns:
        ``(M,)``, in the label's units.

    >>> crps(np.array([[1.0, 3.0], [2.0, 2.0]]), np.array([1.0, 5.0])).tolist()
    [0.5, 3.0]
    """
    x = points if in_order else np.sort(points, axis=1)
    n = x.shape[1]
    centre = labels[:, None]  # distances from the label: differences of large numbers would lose digits
    x = x - centre
    weights = (2.0 * np.arange(1, n + 1) - n - 1) / n**2
    return np.asarray(np.abs(x).mean(axis=1) - x @ weights)


def nll(probabilities: Array, labels: NDArray[np.int64]) -> Array:
    """-ln p_y, ``(M,)``, of probabilities ``(M, C)`` and classes ``(M,)``, in nats."""
    chosen = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    return np.asarray(-np.log(np.clip(chosen, MIN_PROBABILITY, None)))


def quantile(points: Array, q: float) -> Array:
    """The q-quantile ``(M,)`` of points ``(M, n)`` in increasing order, linear between neighbours.

    >>> quantile(np.array([[0.0, 1.0, 2.0]]), 0.25).tolist()
    [0.5]
    """
    position = q * (points.shape[1] - 1)
    below = min(int(position), points.shape[1] - 1)
    above = min(below + 1, points.shape[1] - 1)
    return np.asarray(points[:, below] + (position - below) * (points[:, above] - points[:, below]))
