r"""Kalman filtering and smoothing with evidence of any rank, for B sequences of L steps at once.

    s_1 ~ N(m, S),    s_t = F_t s_(t-1) + N(0, Q_t),    log p(what is available at t | s) = h_t' s - s' P_t s / 2 + const.

A step with nothing available has P_t = 0 and h_t = 0, so missing modalities and clips need no special case. Filtering
gives p(s_t | steps 1..t), smoothing (Rauch, Tung and Striebel 1965) p(s_t | all steps). No P_t or Q_t is inverted; every
predicted covariance must be positive definite, which holds if S is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.synthetic.affine import Array


@dataclass(frozen=True)
class States:
    """Gaussian states: ``means`` (..., Z) and ``covariances`` (..., Z, Z)."""

    means: Array
    covariances: Array

    def __getitem__(self, index: Any) -> States:
        return States(self.means[index], self.covariances[index])


def predict(states: States, transition: Array, noise: Array) -> States:
    """The states F s + N(0, Q) of the next step, for ``transition`` F and ``noise`` Q (..., Z, Z)."""
    means = np.einsum("...ij,...j->...i", transition, states.means)
    return States(means, _symmetric(transition @ states.covariances @ _transposed(transition) + noise))


def update(states: States, precision: Array, information: Array) -> States:
    """The states given evidence P (..., Z, Z) and h (..., Z): covariance (V^-1 + P)^-1 = (I + V P)^-1 V.

    >>> given = update(States(np.zeros(1), np.ones((1, 1))), np.array([[3.0]]), np.array([2.0]))
    >>> given.means.tolist(), given.covariances.tolist()
    ([0.5], [[0.25]])
    """
    eye = np.eye(precision.shape[-1])
    covariances = _symmetric(np.linalg.solve(eye + states.covariances @ precision, states.covariances))
    residual = information - np.einsum("...ij,...j->...i", precision, states.means)
    return States(states.means + np.einsum("...ij,...j->...i", covariances, residual), covariances)


def filter_states(
    prior: States, transitions: Array, noises: Array, precision: Array, information: Array
) -> tuple[States, States]:
    """p(s_t | evidence of steps 1..t), and p(s_t | evidence of steps 1..t-1).

    Args:
        prior: of the first step; its leading dimensions broadcast to B.
        transitions: F (B, L - 1, Z, Z) into steps 2..L.
        noises: Q (B, L - 1, Z, Z) of these steps.
        precision: P (B, L, Z, Z).
        information: h (B, L, Z).

    Returns:
        Filtered and predicted states, (B, L).
    """
    batch, length, size = information.shape
    filtered, predicted = (States(np.empty((batch, length, size)), np.empty(precision.shape)) for _ in range(2))
    ahead = prior
    for t in range(length):
        if t:
            ahead = predict(filtered[:, t - 1], transitions[:, t - 1], noises[:, t - 1])
        predicted.means[:, t], predicted.covariances[:, t] = ahead.means, ahead.covariances
        now = update(predicted[:, t], precision[:, t], information[:, t])
        filtered.means[:, t], filtered.covariances[:, t] = now.means, now.covariances
    return filtered, predicted


def smooth_states(filtered: States, predicted: States, transitions: Array) -> States:
    """p(s_t | evidence of all steps), (B, L), from what `filter_states` returns and its ``transitions``."""
    smoothed = States(filtered.means.copy(), filtered.covariances.copy())
    for t in reversed(range(filtered.means.shape[1] - 1)):
        lagged = transitions[:, t] @ filtered.covariances[:, t]  # cov(s_(t+1), s_t), before the evidence of t + 1
        gain = _transposed(np.linalg.solve(predicted.covariances[:, t + 1], lagged))
        later = smoothed.means[:, t + 1] - predicted.means[:, t + 1]
        smoothed.means[:, t] += np.einsum("...ij,...j->...i", gain, later)
        change = smoothed.covariances[:, t + 1] - predicted.covariances[:, t + 1]
        smoothed.covariances[:, t] += _symmetric(gain @ change @ _transposed(gain))
    return smoothed


def innovation(transition: Array, covariance: Array) -> Array:
    """S - F S F': the noise of a step F that keeps the covariance S."""
    return _symmetric(covariance - transition @ covariance @ _transposed(transition))


def root_of(covariance: Array) -> Array:
    """R with R R' = covariance (Z, Z), which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))


def _transposed(matrices: NDArray[Any]) -> Array:
    return np.swapaxes(matrices, -1, -2)


def _symmetric(matrices: NDArray[Any]) -> Array:
    return 0.5 * (matrices + _transposed(matrices))
