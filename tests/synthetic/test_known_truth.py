"""The known truth against brute force, Monte Carlo and its own samples."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad

from imder.data.corpus import Ragged
from imder.synthetic.affine import AffineEncoder, LinearModality, flatten, operator_of, unflatten
from imder.synthetic.known_truth import CLASSES, KnownTruth
from imder.synthetic.posterior import LabelPosterior, normal_cdf
from imder.types import ImderError

SUBSETS = [subset for size in (1, 2, 3) for subset in combinations(range(3), size)]
IDS = ["".join("LVA"[k] for k in subset) for subset in SUBSETS]


def mask(n, subset, modalities=3):
    out = np.zeros((n, modalities), dtype=bool)
    out[:, list(subset)] = True
    return out


@pytest.fixture(scope="module")
def truth():
    return KnownTruth.standard()


@pytest.fixture(scope="module")
def small():
    """Three components, two latents, few frames, much overlap: dense algebra and importance sampling are possible."""
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(3, 2, 2))
    shapes = {"p": (2, (1, 3)), "q": (3, (2, 2)), "r": (1, (1, 4))}
    modalities = tuple(
        LinearModality(k, t, rng.normal(size=(3, d)), 0.7 * rng.normal(size=(2, d, 2)), 1.0 + 0.2 * d)
        for k, (d, t) in shapes.items()
    )
    return KnownTruth(
        weights=np.array([0.5, 0.3, 0.2]),
        means=rng.normal(size=(3, 2)),
        covariances=roots @ roots.transpose(0, 2, 1) + 0.3 * np.eye(2),
        modalities=modalities,
        label_weights=np.array([1.0, -0.7]),
        label_offsets=np.array([1.5, -1.0, 0.0]),
        label_noise=0.6,
    )


def dense(truth, name, length):
    """Offsets (C, T D) and loading (T D, Z), frame by frame from the definition."""
    m = truth[name]
    tau = (np.arange(length) + 0.5) / length
    frames = [sum(m.loadings[j] * np.cos(np.pi * j * t) for j in range(len(m.loadings))) for t in tau]
    return np.concatenate([m.offsets] * length, axis=1), np.concatenate(frames)


def joint(truth, parts):
    """For each c mean and covariance of stacked (affine maps of) raw features and y*: parts = [(name, length, A, a)]."""
    means, covariances = [], []
    for c in range(len(truth.weights)):
        offset, loading, noise = [], [], []
        for name, length, matrix, shift in parts:
            b, big_b = dense(truth, name, length)
            offset.append(matrix @ b[c] + shift)
            loading.append(matrix @ big_b)
            noise.append(truth[name].noise ** 2 * matrix @ matrix.T)
        offset.append([truth.label_offsets[c]])
        loading.append(truth.label_weights[None])
        sizes = np.cumsum([0, *(len(x) for x in noise), 1])
        covariance = np.concatenate(loading) @ truth.covariances[c] @ np.concatenate(loading).T
        for i, block in enumerate([*noise, np.array([[truth.label_noise**2]])]):
            covariance[sizes[i] : sizes[i + 1], sizes[i] : sizes[i + 1]] += block
        means.append(np.concatenate(offset) + np.concatenate(loading) @ truth.means[c])
        covariances.append(covariance)
    return means, covariances


def condition(weights, means, covariances, seen, value):
    """Weights, means and covariances of the other coordinates given ``seen`` (bool) = value, by dense algebra."""
    logits, out_means, out_covariances = [], [], []
    for w, m, s in zip(weights, means, covariances, strict=True):
        gain = s[~seen][:, seen] @ np.linalg.inv(s[seen][:, seen])
        logits.append(np.log(w) + stats.multivariate_normal(m[seen], s[seen][:, seen]).logpdf(value))
        out_means.append(m[~seen] + gain @ (value - m[seen]))
        out_covariances.append(s[~seen][:, ~seen] - gain @ s[seen][:, ~seen])
    probability = np.exp(np.array(logits) - max(logits))
    return probability / probability.sum(), np.array(out_means), np.array(out_covariances)


# -- labels ----------------------------------------------------------------------------------------------------------


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
            seen = np.arange(len(means[0])) < len(means[0]) - 1
            weights, means, covariances = condition(small.weights, means, covariances, seen, np.concatenate(raw))
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


# -- features and encodings ------------------------------------------------------------------------------------------


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
        seen = np.arange(len(means[0])) < len(np.concatenate(values))
        weights, means, covariances = condition(small.weights, means, covariances, seen, np.concatenate(values))
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


# -- the corpus ------------------------------------------------------------------------------------------------------


def test_corpus_is_determined_by_its_seed_and_well_formed(truth):
    a, b, other = (truth.corpus(60, 20, 30, seed=s) for s in (0, 0, 1))
    for name in ("train", "valid", "test"):
        np.testing.assert_array_equal(a[name].features["audio"].values, b[name].features["audio"].values)
        np.testing.assert_array_equal(a[name].labels, b[name].labels)
        assert a[name].ids == b[name].ids
        assert a[name].texts == b[name].texts
        assert not np.array_equal(a[name].labels, other[name].labels)
    assert not np.array_equal(a["train"].labels[:20], a["valid"].labels)
    assert len({i for s in a.splits.values() for i in s.ids}) == 110
    train = truth.corpus(400, 1, 1)["train"]
    assert train.labels.dtype == np.float32
    assert abs(train.labels).max() <= 3
    assert (abs(train.labels) == 3).mean() > 0.01
    sizes = np.unique(train.dialogue, return_counts=True)[1]
    assert sizes.max() <= 8
    assert np.sort(sizes)[1] >= 4
    for i, d, p, s in zip(train.ids, train.dialogue, train.position, train.speaker, strict=True):
        assert i == f"{d}$_${p}"
        assert s[:-1] == d
    assert train.present.all()
    for m in truth.modalities:
        lengths = train.features[m.name].lengths
        assert (lengths.min(), lengths.max()) == m.lengths
        assert train.features[m.name].values.dtype == np.float32


def test_tasks_share_features_and_latents(truth):
    regression, classification = truth.corpus(200, 10, 10), truth.corpus(200, 10, 10, task="classification")
    assert classification.spec.classes == CLASSES
    assert classification.spec.outputs == 3
    np.testing.assert_array_equal(
        regression["train"].features["vision"].values, classification["train"].features["vision"].values
    )
    y = regression["train"].labels
    assert classification["train"].labels.dtype == np.int64
    np.testing.assert_array_equal(classification["train"].labels, np.searchsorted((-0.5, 0.5), y))
    np.testing.assert_array_equal(np.clip(truth.latents(200, (0, 1))[2], -3, 3).astype(np.float32), y)


def test_other_dims_lengths_and_one_frame():
    truth = KnownTruth.standard(3, dims={"language": 5}, lengths={"language": (1, 1), "audio": (1, 2)})
    corpus = truth.corpus(50, 10, 20)
    assert [(m.dim, m.length) for m in corpus.spec.modalities] == [(5, 1), (12, 24), (10, 2)]
    everything = truth.label_posterior(corpus["train"], mask(50, (0, 1, 2)))
    assert abs(everything.median() - corpus["train"].labels).mean() < 1


def test_mistakes_are_named(truth):
    split = truth.sample(4, seed=1)
    with pytest.raises(ImderError, match="audio is available in some rows"):
        truth.conditional(split, mask(4, (2,)), "audio")
    with pytest.raises(ImderError, match="language: a row that is asked for has no frames"):
        truth.conditional(split, mask(4, (2,)), "language", np.array([3, 0, 2, 2]))
    with pytest.raises(ImderError, match="label_weights has shape"):
        replace(truth, label_weights=np.ones(5))
    with pytest.raises(ImderError, match="sum to 1"):
        replace(truth, weights=np.full(4, 0.3))
    with pytest.raises(ImderError, match="audio needs offsets"):
        replace(truth, modalities=(replace(truth["audio"], offsets=np.zeros((3, 10))),))
    operators = {m.name: (lambda length: (np.ones((2, 3)), np.zeros(2))) for m in truth.modalities}
    lengths = {k: r.lengths for k, r in split.features.items()}
    with pytest.raises(ImderError, match="the encoder takes 3"):
        truth.encoding_posterior(operators, {"audio": np.zeros((4, 2))}, lengths, mask(4, (2,)), "language")
