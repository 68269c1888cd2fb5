"""Exact draws of raw features, against dense Gaussian conditioning and against the clips themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from distances import energy_distance
from scipy import stats

from gaussian_algebra import condition, dialogue_joint, identity_part, joint, mask
from imder.data.corpus import Ragged
from imder.synthetic.feature_posterior import FeatureDraws, FeaturePosterior
from imder.types import ImderError

DRAWS = 40_000


def missing_of(truth, subset):
    return tuple(m for k, m in enumerate(truth.modalities) if k not in subset)


def moments(weights, means, covariances):
    """Mean and covariance of a mixture."""
    mean = weights @ means
    spread = means - mean
    return mean, np.einsum("c,cij->ij", weights, covariances) + np.einsum("c,ci,cj->ij", weights, spread, spread)


def assert_same_moments(drawn, mean, covariance):
    """Draws (S, F) have this mean and covariance, up to five standard errors."""
    n, deviation = len(drawn), np.sqrt(np.diag(covariance))
    assert (abs(drawn.mean(0) - mean) < 5 * deviation / np.sqrt(n)).all()
    products = (drawn - mean)[:, :, None] * (drawn - mean)[:, None]
    assert (abs(products.mean(0) - covariance) < 5 * products.std(0) / np.sqrt(n)).all()


@pytest.mark.parametrize("subset", [(0, 1), (0,), (1,), (2,), ()], ids=str)
def test_joint_draws_at_given_lengths_have_the_moments_of_dense_conditioning(small, subset):
    row, split = 1, small.sample(3, seed=4)
    lengths = {name: int(ragged.lengths[row]) for name, ragged in split.features.items()}
    missing = missing_of(small, subset)
    names = [small.names[k] for k in subset] + [m.name for m in missing]
    means, covariances = joint(small, [identity_part(small, name, lengths[name]) for name in names])
    value = np.concatenate([np.zeros(0), *(split.features[small.names[k]][row].ravel() for k in subset)])
    if len(value):
        observed = np.arange(len(means[0])) < len(value)
        weights, means, covariances = condition(small.weights, means, covariances, observed, value)
    else:
        weights = small.weights
    mean, covariance = (x[..., :-1] for x in moments(weights, np.array(means), np.array(covariances)))
    covariance = covariance[:-1]  # without the label

    latent = small.latent_posterior(split, mask(3, subset))[np.array([row])]
    posterior = FeaturePosterior(latent, missing)
    np.testing.assert_allclose(
        np.concatenate([posterior.mean(m.name, lengths[m.name]).ravel() for m in missing]), mean, atol=1e-9
    )
    np.testing.assert_allclose(
        np.concatenate([posterior.variance(m.name, lengths[m.name]).ravel() for m in missing]),
        np.diag(covariance),
        rtol=1e-9,
    )
    drawn = posterior.sample(DRAWS, np.random.default_rng(0), {name: np.array([t]) for name, t in lengths.items()})
    assert_same_moments(
        np.concatenate([drawn[m.name].features.reshape(DRAWS, -1) for m in missing], 1), mean, covariance
    )


@pytest.mark.parametrize(("direction", "window"), [("both", None), ("past", 1), ("both", 0)])
def test_draws_given_neighbours_have_the_moments_of_dense_conditioning(dialogues, direction, window):
    split = dialogues.sample(3, seed=2)
    available = np.array([[True, True, False], [False, False, True], [True, False, True]])
    clips = {("both", None): [0, 1, 2], ("past", 1): [0, 1], ("both", 0): [1]}[direction, window]
    cells = [(i, k) for i in clips for k in range(3) if available[i, k]]
    wanted = [(1, 0), (1, 1)]
    lengths = [len(split.features[dialogues.names[k]][i]) for i, k in cells + wanted]
    parts = [
        (clips.index(i), *identity_part(dialogues, dialogues.names[k], t))
        for (i, k), t in zip(cells + wanted, lengths, strict=True)
    ]
    mean, covariance = dialogue_joint(dialogues, [split.position[i] for i in clips], parts)
    value = np.concatenate([split.features[dialogues.names[k]][i].ravel() for i, k in cells])
    observed = np.arange(len(mean)) < len(value)
    _, means, covariances = condition([1.0], [mean], [covariance], observed, value)
    keep = slice(len(means[0]) - len(clips))  # without the labels

    latent = dialogues.latent_posterior(split, available, direction, window)[np.array([1])]
    posterior = FeaturePosterior(latent, dialogues.modalities[:2])
    given = {dialogues.names[k]: np.array([t]) for (_, k), t in zip(wanted, lengths[-2:], strict=True)}
    drawn = posterior.sample(DRAWS, np.random.default_rng(0), given)
    flat = np.concatenate([drawn[m.name].features.reshape(DRAWS, -1) for m in posterior.missing], 1)
    assert_same_moments(flat, means[0][keep], covariances[0][keep, keep])


def test_lengths_are_drawn_from_their_prior_and_nothing_lies_beyond_them(small):
    latent = small.latent_posterior(small.sample(4, seed=1), mask(4, (1,)))
    drawn = FeaturePosterior(latent, missing_of(small, (1,))).sample(2000, np.random.default_rng(0))
    assert list(drawn) == ["p", "r"]
    for name, draws in drawn.items():
        low, high = small[name].lengths
        assert draws.features.shape == (2000, 4, high, small[name].dim)
        counts = np.bincount(draws.lengths.ravel(), minlength=high + 1)[low:]
        assert stats.chisquare(counts).pvalue > 1e-3
        beyond = np.arange(high) >= draws.lengths[..., None]
        assert not draws.features[beyond].any()
        assert draws.features[~beyond].all()


def test_the_clips_themselves_could_be_draws(truth):
    """A clip's own features and one draw of them, beside what is available, have one joint distribution."""
    split = truth.sample(1500, seed=5)
    missing = (truth["language"], truth["vision"])
    latent = truth.latent_posterior(split, mask(1500, (2,)))
    drawn = FeaturePosterior(latent, missing).sample(1, np.random.default_rng(0))

    def averages(sequences):
        return np.stack([sequences[i].mean(0) for i in range(len(sequences))])

    audio = averages(split.features["audio"])
    own = np.concatenate([audio, *(averages(split.features[m.name]) for m in missing)], 1)
    other = np.concatenate([audio, *(averages(drawn[m.name].sequences()) for m in missing)], 1)
    shuffled = np.concatenate([audio, other[np.random.default_rng(1).permutation(1500), audio.shape[1] :]], 1)
    own, other, shuffled = (x[:, None] for x in (own, other, shuffled))
    assert abs(energy_distance(own, other, unbiased=True)) < 1e-3
    assert energy_distance(own, shuffled, unbiased=True) > 5e-3


def test_components_have_their_posterior_shares_among_draws(truth):
    """Averaged over joint draws, p(c | available, drawn) is p(c | available)."""
    split = truth.sample(4, seed=6)
    latent = truth.latent_posterior(split, mask(4, (2,)))
    drawn = FeaturePosterior(latent, (truth["language"], truth["vision"])).sample(1500, np.random.default_rng(0))
    audio = split.features["audio"]
    known = {name: draws.sequences() for name, draws in drawn.items()} | {
        "audio": audio.take(np.tile(np.arange(4), 1500))
    }
    full = split.take(np.tile(np.arange(4), 1500))
    filled = replace(full, features={name: known[name] for name in truth.names})
    shares = truth.responsibilities(filled, mask(6000, (0, 1, 2))).reshape(1500, 4, -1)
    error = shares.std(0) / np.sqrt(1500)
    assert (abs(shares.mean(0) - latent.weights) < 5 * error + 1e-6).all()
    assert latent.weights.max(1).min() < 0.9


def test_summaries_have_their_length_integrated_out(small):
    latent = small.latent_posterior(small.sample(3, seed=2), mask(3, (0,)))
    posterior = FeaturePosterior(latent, missing_of(small, (0,)))

    def average(length):
        return np.kron(np.full((1, length), 1 / length), np.eye(small["r"].dim)), np.zeros(small["r"].dim)

    drawn = posterior.sample(DRAWS, np.random.default_rng(0))["r"]
    averages = drawn.features.sum(2) / drawn.lengths[..., None]
    exact = posterior.summary("r", average)
    np.testing.assert_allclose(averages.mean(0), exact.mean(), atol=0.05)
    np.testing.assert_allclose(averages.var(0), exact.variance(), rtol=0.05)


def test_sequences_and_draws_are_two_forms_of_the_same():
    ragged = Ragged(np.arange(14, dtype=np.float32).reshape(7, 2), np.array([0, 3, 4, 5, 7]))
    draws = FeatureDraws.of(ragged, 2)
    assert draws.features.shape == (2, 2, 3, 2)
    assert draws.lengths.tolist() == [[3, 1], [1, 2]]
    np.testing.assert_array_equal(draws.sequences().values, ragged.values)
    np.testing.assert_array_equal(draws.sequences().offsets, ragged.offsets)


def test_a_modality_that_is_not_missing_is_a_mistake(small):
    posterior = FeaturePosterior(small.prior(), missing_of(small, (0,)))
    with pytest.raises(ImderError, match="p isn't missing here; missing are q, r"):
        posterior.mean("p", 2)
