"""The mixture over lengths against densities written out, Monte Carlo and its own samples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from imder.synthetic.affine import AffineEncoder, LinearModality
from imder.synthetic.known_truth import KnownTruth
from imder.synthetic.unknown_length import UnknownLength

WIDTH = 3


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(0)
    shapes = {"p": (2, (1, 3)), "q": (2, (2, 4))}
    modalities = tuple(
        LinearModality(k, t, 1.5 * rng.normal(size=(3, d)), rng.normal(size=(2, d, 2)), 0.8)
        for k, (d, t) in shapes.items()
    )
    roots = rng.normal(size=(3, 2, 2))
    return KnownTruth(
        weights=np.array([0.5, 0.3, 0.2]),
        means=rng.normal(size=(3, 2)),
        covariances=roots @ roots.transpose(0, 2, 1) + 0.3 * np.eye(2),
        modalities=modalities,
        label_weights=np.array([1.0, -0.7]),
        label_offsets=np.array([1.5, -1.0, 0.0]),
        label_noise=0.6,
    )


def encoder(dim, seed):
    """An affine map to (2 steps, WIDTH), whatever the length; one length has fewer directions than it gives numbers."""
    rng = np.random.default_rng(seed)
    maps = {t: (rng.normal(size=(2 * WIDTH, t * dim)), rng.normal(size=2 * WIDTH)) for t in (1, 2, 3, 4)}
    return AffineEncoder(lambda length: maps[length])


@pytest.fixture(scope="module")
def asked(truth):
    split = truth.sample(5, seed=3)
    encoders = {"p": encoder(2, 1), "q": encoder(2, 2)}
    encodings = {"p": encoders["p"].encode(split.features["p"])}
    lengths = {k: r.lengths for k, r in split.features.items()}
    available = np.array([[True, False]] * 5)
    return UnknownLength.of(truth, encoders, encodings, lengths, available, "q")


def test_every_length_is_as_likely(truth, asked):
    low, high = truth["q"].lengths
    assert [int(p.groups[0][0].size) for p in asked.by_length] == [5] * (high - low + 1)
    drawn = asked.sample(4000, np.random.default_rng(0))
    error = np.sqrt(asked.variance() / 4000)
    assert (abs(drawn.mean(0) - asked.mean()) < 5 * error).all()
    np.testing.assert_allclose(drawn.var(0).mean(), asked.variance().mean(), rtol=0.05)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 5.0])
def test_what_a_noisy_view_says_is_bayes_rule(asked, sigma):
    noisy = asked.sample(2, np.random.default_rng(1))
    noisy = noisy + sigma * np.random.default_rng(2).normal(size=noisy.shape)
    clean, shares, likelihood = asked.explain(noisy, sigma)
    size = noisy.shape[-1]
    for row in range(5):
        weights, cleans, components = [], [], []
        for posterior in asked.by_length:
            for c in range(3):
                mean, covariance = posterior.component_means()[row, c], posterior.component_covariance(row, c)
                full = covariance + sigma**2 * np.eye(size)
                density = stats.multivariate_normal(mean, full).pdf(noisy[0, row])
                weights.append(posterior.weights[row, c] * density / len(asked.by_length))
                cleans.append(mean + covariance @ np.linalg.solve(full, noisy[0, row] - mean))
                components.append(c)
        total = sum(weights)
        exact = np.log(total) + 0.5 * size * np.log(2 * np.pi)
        assert likelihood[0, row] == pytest.approx(exact, abs=1e-7)
        np.testing.assert_allclose(clean[0, row], np.array(weights) @ np.array(cleans) / total, atol=1e-7)
        np.testing.assert_allclose(shares[0, row], np.bincount(components, weights) / total, atol=1e-7)
    np.testing.assert_array_equal(asked.denoise(noisy, sigma), clean)


def test_components_told_from_draws_have_their_shares(asked):
    drawn = asked.sample(3000, np.random.default_rng(3))
    blurred = drawn + 0.5 * np.random.default_rng(4).normal(size=drawn.shape)
    told = asked.explain(blurred, 0.5)[1]
    error = told.std(0) / np.sqrt(3000)
    assert (abs(told.mean(0) - asked.weights) < 5 * error + 1e-9).all()


def test_with_nothing_available_the_prior_remains(truth):
    lengths = {"p": np.array([2]), "q": np.array([2])}
    alone = UnknownLength.of(truth, {"q": encoder(2, 2)}, {}, lengths, np.zeros((1, 2), dtype=bool), "q")
    np.testing.assert_allclose(alone.weights, truth.weights[None])
