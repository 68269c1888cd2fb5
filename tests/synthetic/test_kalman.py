"""Filtering and smoothing against dense conditioning, and invariants."""

from __future__ import annotations

import numpy as np
import pytest

from imder.synthetic.kalman import States, filter_states, innovation, predict, root_of, smooth_states, update


@pytest.fixture(scope="module")
def chain():
    """Two sequences of five steps with transitions, noises and evidence of their own, some steps without evidence."""
    rng = np.random.default_rng(0)
    batch, length, size = 2, 5, 3
    transitions = 0.6 * rng.normal(size=(batch, length - 1, size, size))
    noises = rng.normal(size=(batch, length - 1, size, 2))
    loading = rng.normal(size=(batch, length, 2, size)) * (rng.random((batch, length, 1, 1)) < 0.7)
    measured = rng.normal(size=(batch, length, 2))
    prior = States(rng.normal(size=size), np.diag([0.5, 1.0, 2.0]))
    evidence = np.swapaxes(loading, -1, -2) @ loading, np.einsum("blri,blr->bli", loading, measured)
    return prior, transitions, noises @ np.swapaxes(noises, -1, -2), *evidence


def dense(chain, sequence, last):
    """Mean and covariance of all states of a sequence, given the evidence of its first ``last`` steps."""
    prior, transitions, noises, precision, information = chain
    length, size = information.shape[1:]
    step = np.eye(length * size)  # states = step @ (first state and innovations)
    for t in range(1, length):
        rows, before = slice(t * size, (t + 1) * size), slice((t - 1) * size, t * size)
        step[rows] += transitions[sequence, t - 1] @ step[before]
    blocks = np.zeros((length, size, length, size))
    for t in range(length):
        blocks[t, :, t] = noises[sequence, t - 1] if t else prior.covariances
    covariance = step @ blocks.reshape(length * size, -1) @ step.T
    mean = step[:, :size] @ prior.means
    evident = np.zeros_like(blocks)
    pull = np.zeros((length, size))
    for t in range(last):
        evident[t, :, t], pull[t] = precision[sequence, t], information[sequence, t]
    evident = evident.reshape(length * size, -1)
    posterior = np.linalg.inv(np.eye(length * size) + covariance @ evident) @ covariance
    return mean + posterior @ (pull.ravel() - evident @ mean), posterior


def test_filtered_predicted_and_smoothed_states_are_those_of_dense_algebra(chain):
    filtered, predicted = filter_states(*chain)
    smoothed = smooth_states(filtered, predicted, chain[1])
    for sequence in range(2):
        for t in range(5):
            block = slice(3 * t, 3 * t + 3)
            for states, last in ((predicted, t), (filtered, t + 1), (smoothed, 5)):
                mean, covariance = dense(chain, sequence, last)
                np.testing.assert_allclose(states.means[sequence, t], mean[block], atol=1e-10)
                np.testing.assert_allclose(states.covariances[sequence, t], covariance[block, block], atol=1e-10)


def test_no_evidence_leaves_a_stationary_chain_as_it_is():
    transition, covariance = np.array([[0.9, 0.2], [0.0, 0.5]]), np.array([[2.0, 0.3], [0.3, 1.0]])
    noise = innovation(transition, covariance)
    states = predict(States(np.zeros(2), covariance), transition, noise)
    np.testing.assert_allclose(states.covariances, covariance, atol=1e-14)
    same = update(states, np.zeros((2, 2)), np.zeros(2))
    np.testing.assert_allclose(same.covariances, covariance, atol=1e-14)
    np.testing.assert_array_equal(same.means, 0)


def test_a_state_without_variance_stays_where_it_is_and_singular_roots_are_roots():
    given = update(States(np.array([1.0, 2.0]), np.diag([0.0, 1.0])), np.eye(2), np.array([9.0, 4.0]))
    np.testing.assert_allclose(given.means, [1.0, 3.0])
    np.testing.assert_allclose(given.covariances, np.diag([0.0, 0.5]))
    covariance = np.array([[1.0, 2.0], [2.0, 4.0]])
    np.testing.assert_allclose(root_of(covariance) @ root_of(covariance).T, covariance, atol=1e-14)
