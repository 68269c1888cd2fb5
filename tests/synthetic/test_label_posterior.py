"""Label posteriors against dense algebra, importance sampling and their own samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad

from gaussian_algebra import IDS, SUBSETS, condition, dense, joint, mask
from imder.synthetic.known_truth import KnownTruth
from imder.synthetic.posterior import LabelPosterior, normal_cdf


@pytest.mark.parametrize("subset", [(), *SUBSETS])
def test_label_posterior_is_dense_gaussian_conditioning(small, subset):
    split = small.sample(6, seed=3)
    posterior = small.label_posterior(split, mask(6, subset))
    for i in range(6):
        names = [small.names[k] for k in subset]
        raw = [split.features[k][i].astype(float).ravel() for k in names]
        parts = [(k, len(split.features[k][i]), np.eye(len(x)), 0.0) for k, x in zip(names, raw, strict=True)]
        means, covariances = joint(small, parts)
        if subset:
            observed = np.arange(len(means[0])) < len(means[0]) - 1
            weights, means, covariances = condition(small.weights, means, covariances, observed, np.concatenate(raw))
        else:
            weights = small.weights
        np.testing.assert_allclose(posterior.weights[i], weights, atol=1e-10)
        np.testing.assert_allclose(posterior.means[i], np.array(means)[:, -1], atol=1e-9)
        np.testing.assert_allclose(posterior.stds[i], np.sqrt(np.array(covariances)[:, -1, -1]), atol=1e-9)


def test_median_sign_and_mean_by_importance_sampling(small):
    split = small.sample(1, seed=8)
    posterior = small.label_posterior(split, mask(1, (0, 2)))
    rng, n = np.random.default_rng(1), 400_000
    c = rng.choice(3, n, p=small.weights)
    z = small.means[c] + np.einsum("nij,nj->ni", np.linalg.cholesky(small.covariances)[c], rng.normal(size=(n, 2)))
    y = np.clip(z @ small.label_weights + small.label_offsets[c] + small.label_noise * rng.normal(size=n), -3, 3)
    logits = np.zeros(n)
    for k in ("p", "r"):
        offsets, loading = dense(small, k, len(split.features[k][0]))
        residual = split.features[k][0].astype(float).ravel() - offsets[c] - z @ loading.T
        logits -= 0.5 * (residual**2).sum(1) / small[k].noise ** 2
    w = np.exp(logits - logits.max())
    w /= w.sum()
    effective = 1 / (w**2).sum()
    assert effective > 10_000
    assert abs((w * (y > 0)).sum() - posterior.probability_positive()[0]) < 4 * 0.5 / np.sqrt(effective)
    assert abs((w * y).sum() - posterior.mean()[0]) < 4 * 3 / np.sqrt(effective)
    assert abs((w * (y <= posterior.median()[0])).sum() - 0.5) < 4 * 0.5 / np.sqrt(effective)


@pytest.mark.parametrize("subset", SUBSETS, ids=IDS)
def test_calibrated_on_its_own_samples(truth, subset):
    n = 2500
    split = truth.sample(n, seed=11)
    y = split.labels.astype(float)
    posterior = truth.label_posterior(split, mask(n, subset))
    below = np.where(y <= -3, 0.0, posterior.cdf(y - 1e-9))
    pit = below + np.random.default_rng(0).random(n) * (posterior.cdf(y) - below)  # randomised within the atoms
    assert stats.kstest(pit, "uniform").pvalue > 1e-3
    for q in (0.05, 0.25, 0.75, 0.95):
        quantile = posterior.quantile(q)
        inner = abs(quantile) < 3
        assert abs((y <= quantile)[inner].mean() - q) < 4 * np.sqrt(q * (1 - q) / inner.sum())
    p = posterior.probability_positive()
    assert abs(((y > 0) - p).mean()) < 4 * np.sqrt((p * (1 - p)).mean() / n)
    classes = truth.sample(n, seed=11, task="classification").labels
    probabilities = posterior.class_probabilities(truth.edges)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(np.eye(3)[classes].mean(0), probabilities.mean(0), atol=4 * 0.5 / np.sqrt(n))
    for shift in (-0.25, 0.25):
        assert abs(y - posterior.median()).mean() < abs(y - posterior.median() - shift).mean()


def test_bayes_errors_are_as_designed_and_fall_with_more_evidence(truth):
    n = 4000
    split = truth.sample(n, seed=99)
    y = split.labels.astype(float)
    mae = {s: abs(truth.label_posterior(split, mask(n, s)).median() - y).mean() for s in [(), *SUBSETS]}
    for less in mae:
        for more in mae:
            if set(less) < set(more):
                assert mae[more] < mae[less] - 0.02, (less, more)
    design = {(): 1.15, (0,): 0.62, (1,): 0.91, (2,): 0.86, (0, 1): 0.57, (0, 2): 0.56, (1, 2): 0.65, (0, 1, 2): 0.51}
    for subset, value in design.items():
        assert mae[subset] == pytest.approx(value, abs=0.04 if len(subset) < 2 else 0.02), subset
    irreducible = abs(np.random.default_rng(0).normal(size=n)).mean() * truth.label_noise
    assert irreducible > 0.4
    for other in (1, 2):  # another seed turns directions only
        turned = KnownTruth.standard(other)
        split = turned.sample(n, seed=99)
        assert abs(turned.label_posterior(split, mask(n, (0,))).median() - split.labels).mean() == pytest.approx(
            mae[(0,)], abs=0.03
        )


mixtures = st.integers(0, 10_000).map(
    lambda seed: LabelPosterior(
        np.random.default_rng(seed).dirichlet(np.ones(3), 2),
        np.random.default_rng(seed + 1).uniform(-4, 4, (2, 3)),
        np.random.default_rng(seed + 2).uniform(0.2, 2, (2, 3)),
    )
)


def integral(f, a, b):
    return quad(f, a, b, epsabs=1e-10, limit=200)[0]


@given(mixtures, st.floats(-3, 3))
@settings(max_examples=25, deadline=None)
def test_crps_and_mean_against_numerical_integration(posterior, y):
    got, mean = posterior.crps(np.full(2, y)), posterior.mean()
    for i in range(2):

        def cdf(v, i=i):
            return float(posterior.cdf(v)[i])

        below = integral(lambda v, cdf=cdf: cdf(v) ** 2, -3, y)
        above = integral(lambda v, cdf=cdf: (1 - cdf(v)) ** 2, y, 3)
        assert got[i] == pytest.approx(below + above, abs=1e-8)
        assert mean[i] == pytest.approx(3 - integral(cdf, -3, 3), abs=1e-8)


@given(mixtures, st.floats(0.001, 0.999))
@settings(max_examples=50, deadline=None)
def test_quantile_inverts_cdf(posterior, q):
    v = posterior.quantile(q)
    inner = abs(v) < 3
    np.testing.assert_allclose(posterior.cdf(v)[inner], q, atol=1e-10)
    assert (posterior.cdf(-3)[v == -3] >= q).all()
    assert (posterior.quantile(min(0.9995, q + 1e-3)) >= v).all()
    assert posterior.crps(np.full(2, 4.0)) == pytest.approx(posterior.crps(np.full(2, 3.0)) + 1)


def test_normal_cdf_is_double_precision():
    x = np.linspace(-37, 9, 301)
    np.testing.assert_allclose(normal_cdf(x), stats.norm.cdf(x), rtol=1e-12, atol=0)
