"""Labels, features and encodings given sequences with erased frames, against dense Gaussian conditioning."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from gaussian_algebra import condition, dialogue_joint, identity_part, joint, mask
from imder.data.corpus import Ragged
from imder.missingness.burst_missing import BurstMissing
from imder.synthetic.dialogue_truth import DialogueTruth
from imder.synthetic.erased_posterior import ErasedPosterior

CLOSE = 1e-8


def random_erasure(truth, split, seed, rate=0.5):
    """Some frames of each sequence; marks beyond a sequence's length have no meaning."""
    rng = np.random.default_rng(seed)
    return {m.name: rng.random((len(split), m.lengths[1])) < rate for m in truth.modalities}


def planted(split, erased):
    """The split with NaN in erased frames."""
    features = {}
    for name, ragged in split.features.items():
        hidden = [erased[name][i, :length] for i, length in enumerate(ragged.lengths)]
        features[name] = Ragged(np.where(np.concatenate(hidden)[:, None], np.nan, ragged.values), ragged.offsets)
    return replace(split, features=features)


def frames_of(split, name, row, erased):
    """The sequence of a row, flattened, and which of its coordinates remain."""
    frames = split.features[name][row].astype(float)
    return frames.ravel(), np.repeat(~erased[name][row, : len(frames)], frames.shape[1])


def by_hand(truth, split, row, subset, erased):
    """Weights, means and covariances of (erased frames of each of the subset's modalities, y*)."""
    parts, values, kept = [], [], []
    for k in subset:
        name = truth.names[k]
        value, remains = frames_of(split, name, row, erased)
        parts.append(identity_part(truth, name, len(split.features[name][row])))
        values.append(value)
        kept.append(remains)
    means, covariances = joint(truth, parts)
    observed = np.concatenate([*kept, [False]])
    return condition(truth.weights, means, covariances, observed, np.concatenate(values)[observed[:-1]])


@pytest.mark.parametrize("subset", [(0, 1, 2), (0, 2), (1,)], ids=str)
def test_labels_given_remaining_frames_are_those_of_dense_algebra(small, subset):
    split = small.sample(12, seed=4)
    erased = random_erasure(small, split, seed=1)
    erased["q"][0] = True  # nothing remains of one sequence
    latent = small.latent_posterior(planted(split, erased), mask(12, subset), erased)
    labels = small.label_of(latent)
    for row in range(12):
        weights, means, covariances = by_hand(small, split, row, subset, erased)
        np.testing.assert_allclose(labels.weights[row], weights, atol=CLOSE)
        np.testing.assert_allclose(labels.means[row], means[:, -1], atol=CLOSE)
        np.testing.assert_allclose(labels.stds[row] ** 2, covariances[:, -1, -1], atol=CLOSE)


def averages(dim):
    """An affine encoder of rank 2 a frame whose steps read three neighbouring frames; 4 values a step."""

    def operator(length):
        rng = np.random.default_rng(dim)
        taps, offset = rng.normal(size=(3, 4, 2)) @ rng.normal(size=(2, dim)), rng.normal(size=4)
        matrix = np.zeros((length, 4, length, dim))
        for step in range(length):
            for tap in range(3):
                if 0 <= step + tap - 1 < length:
                    matrix[step, :, step + tap - 1] = taps[tap]
        return matrix.reshape(length * 4, length * dim), np.tile(offset, length)

    return operator


def moments(weights, means, covariances):
    mean = weights @ means
    spread = means - mean
    return mean, np.einsum("c,cij->ij", weights, covariances) + np.einsum("c,ci,cj->ij", weights, spread, spread)


def test_features_and_encodings_given_remaining_frames_are_those_of_dense_algebra(small):
    split = small.sample(10, seed=6)
    erased = random_erasure(small, split, seed=2)
    erased["r"][0] = False
    latent = small.latent_posterior(planted(split, erased), mask(10, (0, 1, 2)), erased)
    for k, name in enumerate(small.names):
        posterior = ErasedPosterior.of(latent, small[name], planted(split, erased).features[name], erased[name])
        mean, variance = posterior.mean(), posterior.variance()
        assert mean.shape == (10, split.features[name].lengths.max(), small[name].dim)
        operator = averages(small[name].dim)
        encoded, spread = posterior.encoding_mean(operator), posterior.encoding_variance(operator)
        for row in range(10):
            value, remains = frames_of(split, name, row, erased)
            hidden = [(~frames_of(split, n, row, erased)[1]).sum() for n in small.names]
            mine = slice(sum(hidden[:k]), sum(hidden[: k + 1]))
            expected, covariance = moments(*by_hand(small, split, row, (0, 1, 2), erased))
            full = value.copy()
            full[~remains] = expected[mine]
            size = len(full)
            np.testing.assert_allclose(mean[row].ravel()[:size], full, atol=CLOSE)
            dense = np.zeros((size, size))
            dense[np.ix_(~remains, ~remains)] = covariance[mine, mine]
            np.testing.assert_allclose(variance[row].ravel()[:size], np.diag(dense), atol=CLOSE)
            matrix, offset = operator(len(split.features[name][row]))
            np.testing.assert_allclose(encoded[row, : len(offset)], matrix @ full + offset, atol=CLOSE)
            np.testing.assert_allclose(
                spread[row, : len(offset)], np.diag(matrix @ dense @ matrix.T), atol=CLOSE, rtol=CLOSE
            )
            assert not mean[row].ravel()[size:].any()
            assert not spread[row, len(offset) :].any()


def test_draws_keep_remaining_frames_and_have_the_exact_moments(small):
    split = small.sample(4, seed=3)
    erased = random_erasure(small, split, seed=5)
    latent = small.latent_posterior(split, split.present, erased)
    posterior = ErasedPosterior.of(latent, small["p"], split.features["p"], erased["p"])
    drawn = posterior.sample(20_000, np.random.default_rng(0))
    for row, frames in enumerate(split.features["p"][i] for i in range(4)):
        remains = ~erased["p"][row, : len(frames)]
        np.testing.assert_allclose(drawn[:, row, : len(frames)][:, remains] - frames[remains], 0, atol=1e-6)
        assert not drawn[:, row, len(frames) :].any()
    operator = averages(2)
    encoded = posterior.encoding_sample(operator, 20_000, np.random.default_rng(0))
    error = np.sqrt(posterior.encoding_variance(operator) / 20_000)
    assert (abs(encoded.mean(0) - posterior.encoding_mean(operator)) <= 5 * error + 1e-9).all()
    np.testing.assert_allclose(encoded.var(0), posterior.encoding_variance(operator), rtol=0.06, atol=1e-9)


@pytest.mark.parametrize(("direction", "window"), [("both", None), ("past", 1), ("both", 0)])
def test_a_dialogue_with_bursts_and_erased_frames_is_that_of_dense_algebra(dialogues, direction, window):
    split = dialogues.sample(4, seed=13)
    assert len(set(split.dialogue)) == 1
    available = BurstMissing(0.4, length=2).bind(split).sample(split.present, seed=3)
    assert (~available).any()
    erased = random_erasure(dialogues, split, seed=7)
    latent = dialogues.latent_posterior(planted(split, erased), available, direction, window, erased)
    labels = dialogues.label_of(latent)
    for row in range(4):
        reach = 4 if window is None else window
        clips = list(range(max(0, row - reach), min(4, row + 1 + (reach if direction == "both" else 0))))
        parts, values, kept = [], [], []
        for clip, i in enumerate(clips):
            for k, name in enumerate(dialogues.names):
                if available[i, k]:
                    value, remains = frames_of(split, name, i, erased)
                    length = len(split.features[name][i])
                    parts.append((clip, *identity_part(dialogues, name, length)))
                    values.append(value)
                    kept.append(remains)
        mean, covariance = dialogue_joint(dialogues, [split.position[i] for i in clips], parts)
        observed = np.concatenate([*kept, np.zeros(len(clips), bool)])
        value = np.concatenate(values)[observed[: -len(clips)]]
        _, means, covariances = condition([1.0], [mean], [covariance], observed, value)
        at = len(means[0]) - len(clips) + clips.index(row)
        assert labels.means[row, 0] == pytest.approx(means[0][at], abs=CLOSE)
        assert labels.stds[row, 0] ** 2 == pytest.approx(covariances[0][at, at], abs=CLOSE)


def test_without_erased_frames_everything_is_as_before_and_each_erased_frame_costs(truth):
    split = truth.sample(200, seed=2)
    none = {m.name: np.zeros((200, m.lengths[1]), bool) for m in truth.modalities}
    whole, same = truth.latent_posterior(split, split.present), truth.latent_posterior(split, split.present, none)
    np.testing.assert_allclose(same.means, whole.means, atol=1e-9)
    np.testing.assert_allclose(same.weights, whole.weights, atol=1e-9)
    dialogues = DialogueTruth.standard()
    clips = dialogues.sample(60, seed=2)
    rng = np.random.default_rng(0)
    ranks = {m.name: rng.random((60, m.lengths[1])) for m in dialogues.modalities}
    stds = [
        dialogues.label_posterior(clips, clips.present, erased={k: r < rate for k, r in ranks.items()}).stds
        for rate in (0.0, 0.3, 0.7, 1.0)
    ]
    assert all((more >= less - 1e-12).all() for less, more in pairwise(stds))
    prior = dialogues.label_posterior(clips, np.zeros_like(clips.present)).stds
    np.testing.assert_allclose(stds[-1], prior, atol=1e-9)
