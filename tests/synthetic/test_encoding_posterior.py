"""Posteriors of features and encodings against dense algebra and their own samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from gaussian_algebra import condition, joint, mask
from imder.data.corpus import Ragged
from imder.synthetic.affine import AffineEncoder, flatten, operator_of, unflatten
from imder.types import ImderError


def test_unavailable_features_are_never_read(truth):
    split = truth.sample(40, seed=5)
    available = np.random.default_rng(0).random((40, 3)) < 0.5
    planted = {}
    for k, (name, ragged) in enumerate(split.features.items()):
        hide = np.repeat(~available[:, k], ragged.lengths)
        planted[name] = Ragged(np.where(hide[:, None], np.nan, ragged.values), ragged.offsets)
    nan = replace(split, features=planted)
    np.testing.assert_array_equal(
        truth.label_posterior(split, available).median(), truth.label_posterior(nan, available).median()
    )
    alone = truth.label_posterior(split.take(np.array([7])), available[[7]]).median()
    np.testing.assert_allclose(alone, truth.label_posterior(split, available).median()[7], atol=1e-12)


def test_conditional_draws_have_the_exact_moments_and_shares(small):
    split = small.sample(3, seed=2)
    available = mask(3, (0, 1))
    exact = small.conditional(split, available, "r", np.array([4, 2, 4]))
    draws = small.conditional_draws(split, available, "r", 40_000, np.random.default_rng(0), np.array([4, 2, 4]))
    assert draws.shape == (40_000, 3, 4, 1)
    assert not draws[:, 1, 2:].any()
    mean = small.conditional_mean(split, available, "r", np.array([4, 2, 4]))
    error = np.sqrt(exact.variance() / 40_000)
    assert (abs(draws.mean(0)[..., 0] - mean[..., 0]) <= 4.5 * error).all()
    np.testing.assert_allclose(draws[..., 0].var(0), exact.variance(), rtol=0.05)
    means, weights = exact.component_means(), exact.weights
    for i, t in enumerate((4, 2, 4)):
        total = sum(
            weights[i, c]
            * (
                exact.component_covariance(i, c)
                + np.outer(means[i, c, :t] - mean[i, :t, 0], means[i, c, :t] - mean[i, :t, 0])
            )
            for c in range(3)
        )
        np.testing.assert_allclose(np.diag(total), exact.variance()[i, :t], atol=1e-10)
        np.testing.assert_allclose(np.cov(draws[:, i, :t, 0].T), total, atol=0.06 * np.diag(total).max())


def encoders(truth, rank):
    """Wide random affine maps: 5 values for each frame, of the given rank (at most T D)."""

    def make(k, dim):
        def operator(length):
            rng = np.random.default_rng((k, length))
            size = min(rank, length * dim)
            return (
                rng.normal(size=(5 * length, size)) @ rng.normal(size=(size, length * dim)),
                rng.normal(size=5 * length),
            )

        return operator

    return {m.name: make(k, m.dim) for k, m in enumerate(truth.modalities)}


def encoded(operators, split):
    encodings = {k: AffineEncoder.of(operators[k]).encode(r) for k, r in split.features.items()}
    return encodings, {k: r.lengths for k, r in split.features.items()}


def test_identity_and_invertible_encoders_agree_with_raw_features(truth):
    split = truth.sample(30, seed=4)
    available = mask(30, (1, 2))
    raw = truth.conditional(split, available, "language")

    def identity(dim):
        return lambda length: (np.eye(length * dim), np.zeros(length * dim))

    def invertible(dim):
        def operator(length):
            rng = np.random.default_rng(length)
            return np.eye(length * dim) + 0.02 * rng.normal(size=(length * dim,) * 2), rng.normal(size=length * dim)

        return operator

    for make in (identity, invertible):
        operators = {m.name: make(m.dim) for m in truth.modalities}
        got = truth.encoding_posterior(operators, *encoded(operators, split), available, "language")
        np.testing.assert_allclose(got.weights, raw.weights, atol=1e-9)
        np.testing.assert_allclose(
            truth.label_of(got.latent).median(), truth.label_posterior(split, available).median(), atol=1e-8
        )
        for i in (0, 9):
            matrix, shift = operators["language"](len(split.features["language"][i]))
            size = len(shift)
            np.testing.assert_allclose(got.mean()[i, :size], matrix @ raw.mean()[i, :size] + shift, atol=1e-8)
            np.testing.assert_allclose(
                got.component_covariance(i, 1), matrix @ raw.component_covariance(i, 1) @ matrix.T, atol=1e-8
            )


@pytest.mark.parametrize("rank", [99, 2], ids=["wide", "wide and rank 2"])
def test_singular_encoders_are_exact_on_the_reduced_measurements(small, rank):
    split = small.sample(8, seed=6)
    operators, available = encoders(small, rank), mask(8, (0, 1))
    encodings, lengths = encoded(operators, split)
    got = small.encoding_posterior(operators, encodings, lengths, available, "r")
    for i in range(8):
        parts, values = [], []
        for name in ("p", "q"):
            matrix, shift = operators[name](len(split.features[name][i]))
            basis = np.linalg.qr(matrix @ np.random.default_rng(0).normal(size=(matrix.shape[1], matrix.shape[1])))[0]
            basis = basis[:, : np.linalg.matrix_rank(matrix)]  # a basis of the range, not the singular vectors
            parts.append((name, len(split.features[name][i]), basis.T @ matrix, basis.T @ shift))
            values.append(basis.T @ encodings[name][i, : len(shift)])
        matrix, shift = operators["r"](len(split.features["r"][i]))
        parts.append(("r", len(split.features["r"][i]), matrix, shift))
        means, covariances = joint(small, parts)
        observed = np.arange(len(means[0])) < len(np.concatenate(values))
        weights, means, covariances = condition(small.weights, means, covariances, observed, np.concatenate(values))
        np.testing.assert_allclose(got.weights[i], weights, atol=1e-8)
        np.testing.assert_allclose(got.component_means()[i, :, : len(shift)], means[:, :-1], atol=1e-7)
        for c in range(3):
            np.testing.assert_allclose(got.component_covariance(i, c), covariances[c][:-1, :-1], atol=1e-7)
            spread = small.label_of(got.latent)
            assert spread.means[i, c] == pytest.approx(means[c, -1], abs=1e-7)
    assert not got.mean()[got.sizes < got.sizes.max(), got.sizes.min() :][:, -1].any()


def test_denoiser_is_dense_gaussian_conditioning(small):
    split = small.sample(4, seed=7)
    operators = encoders(small, 2)
    posterior = small.encoding_posterior(operators, *encoded(operators, split), mask(4, (0, 2)), "q")
    size = int(posterior.sizes[0])
    noisy = posterior.sample(3, np.random.default_rng(0)) + np.random.default_rng(1).normal(size=(3, 4, size))
    for sigma in (0.05, 1.0, 20.0):
        got = posterior.denoise(noisy, sigma)
        assert got.shape == noisy.shape
        for i in range(4):
            logits, cleans = [], []
            for c in range(3):
                mean, covariance = posterior.component_means()[i, c], posterior.component_covariance(i, c)
                full = covariance + sigma**2 * np.eye(size)
                logits.append(
                    np.log(posterior.weights[i, c]) + stats.multivariate_normal(mean, full).logpdf(noisy[0, i])
                )
                cleans.append(mean + covariance @ np.linalg.solve(full, noisy[0, i] - mean))
            w = np.exp(np.array(logits) - max(logits))
            np.testing.assert_allclose(got[0, i], (w / w.sum()) @ np.array(cleans), atol=1e-7)
    np.testing.assert_allclose(posterior.denoise(noisy, 1e6), np.tile(posterior.mean(), (3, 1, 1)), atol=1e-3)


def test_language_given_audio_alone_has_two_modes_and_its_mean_lies_between(truth):
    n, draws = 60, 300
    split = truth.sample(n, seed=21)
    available = mask(n, (2,))
    language = truth["language"]
    axis = language.offsets[0] - language.offsets[1]  # s2 = +1 against s2 = -1
    centre, scale = language.offsets.mean(0) @ axis / np.linalg.norm(axis), np.linalg.norm(axis) / 2
    axis /= np.linalg.norm(axis)

    def project(frames):  # mean over the frames of each row, in units of the modes' half distance
        t = split.features["language"].lengths[:, None]
        return ((frames.sum(-2) / t) @ axis - centre) / scale

    samples = project(truth.conditional_draws(split, available, "language", draws, np.random.default_rng(0)))
    mean = project(truth.conditional_mean(split, available, "language"))
    assert (abs(samples) < 0.4).mean() < 0.02
    assert (abs(abs(samples) - 1) < 0.5).mean() > 0.95
    shares = (samples > 0).mean(0)
    assert ((shares > 0.1) & (shares < 0.9)).mean() > 0.9
    assert shares.std() > 0.05  # audio has a graded opinion
    assert (abs(mean) < 0.8).mean() > 0.9
    probability = truth.responsibilities(split, available)
    np.testing.assert_allclose(shares, probability[:, 0] + probability[:, 2], atol=4.5 * 0.5 / np.sqrt(draws))


def test_shares_of_components_in_drawn_encodings(truth):
    n, draws = 20, 200
    split = truth.sample(n, seed=31)
    operators = {k: AffineEncoder(op) for k, op in encoders(truth, 30).items()}
    encodings, lengths = encoded(operators, split)
    posterior = truth.encoding_posterior(operators, encodings, lengths, mask(n, (1,)), "language")
    drawn = posterior.sample(draws, np.random.default_rng(0)).reshape(draws * n, -1)
    repeated = {k: np.tile(e, (draws, 1)) for k, e in encodings.items()} | {"language": drawn}
    long = {k: np.tile(t, draws) for k, t in lengths.items()}
    both = truth.encoding_responsibilities(operators, repeated, long, mask(draws * n, (0, 1)))
    error = np.sqrt(posterior.weights * (1 - posterior.weights) / draws)  # at least the true standard error
    assert (abs(both.reshape(draws, n, 4).mean(0) - posterior.weights) < 5 * error + 1e-3).all()


def test_operator_of_a_network_and_layout():
    conv = torch.nn.Conv1d(3, 5, 3, padding=1)

    def encode(x):
        with torch.no_grad():
            return conv(torch.from_numpy(x).transpose(1, 2)).numpy()

    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    encoder = AffineEncoder(operator_of(encode, 3))
    got = encoder.encode(Ragged.from_list([x[0], x[1, :0], x[1]], 3))
    np.testing.assert_allclose(unflatten(got[[0, 2]], 5), encode(x), atol=1e-5)
    np.testing.assert_array_equal(got[1], 0)
    np.testing.assert_array_equal(unflatten(flatten(encode(x)), 5), encode(x).astype(float))
    with pytest.raises(ImderError, match="isn't affine at length 4"):
        operator_of(lambda v: encode(v) ** 2, 3)(4)
