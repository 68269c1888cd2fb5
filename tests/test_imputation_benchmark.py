"""The measures of imputations: exact draws pass, and each kind of wrong draws is flagged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from fillers import mean_fill, one_gaussian, through_codecs
from known_features import GRID, JOINT, affine_summary, resampling, summarize

from gaussian_algebra import identity_part, joint, mask
from imder.data.corpus import spec_of
from imder.synthetic.dialogue_truth import DialogueTruth
from imder.synthetic.feature_posterior import FeatureDraws, FeaturePosterior
from imder.synthetic.known_truth import KnownTruth
from imder.synthetic.posterior import LatentPosterior
from imder.types import ImputedFeatures
from imputation import clip_case, drawing_times, on_clips, on_dialogues

CLIPS, DRAWS = 40, 32


@pytest.fixture(scope="module")
def truth():
    return KnownTruth.standard()


@pytest.fixture(scope="module")
def split(truth):
    return truth.sample(CLIPS, seed=11)


@pytest.fixture(scope="module")
def given_audio(truth, split):
    """Language (two modes) and vision are missing."""
    return clip_case(truth, split, mask(CLIPS, (2,)), DRAWS)


def drawn(posterior, seed=5):
    return posterior.sample(DRAWS, np.random.default_rng(seed))


def test_exact_draws_pass_for_every_pattern(truth, split):
    rows = on_clips(truth, split, {}, DRAWS)
    exact = [row for row in rows if row["draws"] == "exact"]
    assert len({(row["missing"], row["available"]) for row in exact}) == len(exact) == 12
    for row in exact:
        assert abs(row["energy"]) < 0.01
        assert row["correlation error"] < 0.05
        if "+" in row["missing"]:
            continue
        assert row["R^2 of mean"] == pytest.approx(1, abs=0.05)
        assert row["variance ratio"] == pytest.approx(1, abs=0.05)
        assert row["variance ratio of averages"] == pytest.approx(1, abs=0.15)
        for key in ("deviation over time", "roughness"):
            assert row[key] == pytest.approx(1, abs=0.02)
        for key in ("its variance ratio", "roughness' variance ratio"):
            assert row[key] == pytest.approx(1, abs=0.1)
        assert row["coverage of 50 %"] == pytest.approx(0.5, abs=0.02)
        assert row["coverage of 90 %"] == pytest.approx(0.9, abs=0.02)
        assert row["length TV"] < 0.08
        assert row["share error"] < 0.03
        assert row["modes drawn"] > 0.95
        assert abs(row["energy between modes"]) < 0.03


def test_the_mean_has_no_variance_and_covers_nothing(given_audio):
    numbers = given_audio.measure(mean_fill(given_audio))
    for name in ("language", "vision"):
        assert numbers[name]["R^2 of mean"] == pytest.approx(0, abs=0.01)
        assert numbers[name]["variance ratio"] < 1e-3
        assert numbers[name]["roughness"] < 0.05
        assert numbers[name]["coverage of 90 %"] < 0.01
        assert numbers[name]["correlation error"] > 0.5
        assert numbers[name]["energy"] > 1
    assert numbers["language"]["modes drawn"] < 0.7
    assert numbers[JOINT]["energy"] > 1


def test_narrow_draws_have_their_variance_and_cover_too_little(given_audio):
    exact, narrow = given_audio.exact, {}
    for name, draws in drawn(exact).items():
        features = draws.features.copy()
        for length in np.unique(draws.lengths):
            chosen = draws.lengths == length
            means = np.broadcast_to(exact.mean(name, int(length)), (*draws.lengths.shape, length, exact[name].dim))
            x = features[:, :, :length]
            x[chosen] = means[chosen] + 0.7 * (x[chosen] - means[chosen])
        narrow[name] = FeatureDraws(features, draws.lengths)
    numbers = given_audio.measure(narrow)
    for name in narrow:
        assert numbers[name]["R^2 of mean"] == pytest.approx(1, abs=0.05)
        assert numbers[name]["variance ratio"] == pytest.approx(0.49, abs=0.03)
        assert numbers[name]["roughness"] == pytest.approx(0.7, abs=0.02)
        assert numbers[name]["roughness' variance ratio"] == pytest.approx(0.49, abs=0.04)
        assert numbers[name]["coverage of 50 %"] < 0.42
        assert numbers[name]["energy"] > 0.1


def test_a_component_that_is_never_drawn_is_missed(given_audio):
    latent = given_audio.latent
    best = np.eye(latent.weights.shape[1])[latent.weights.argmax(1)]
    one = replace(given_audio.exact, latent=LatentPosterior(best, latent.means, latent.covariances))
    numbers, floor = given_audio.measure(drawn(one)), given_audio.measure(drawn(given_audio.exact))
    for name in ("language", "vision"):
        assert numbers[name]["share error by clip"] > 2 * floor[name]["share error by clip"]
        assert numbers[name]["modes drawn"] < 0.8
        assert numbers[name]["energy between modes"] > 0.1
        assert numbers[name]["variance ratio"] < 0.95


def test_one_gaussian_has_the_moments_but_fills_the_gap_between_modes(truth, split, given_audio):
    single = one_gaussian(truth)
    latent = single.latent_posterior(split, mask(CLIPS, (2,)))
    numbers = given_audio.measure(drawn(FeaturePosterior(latent, single.modalities[:2])))
    for name in ("language", "vision"):
        assert numbers[name]["R^2 of mean"] > 0.95
        assert numbers[name]["variance ratio"] == pytest.approx(1, abs=0.05)
        assert numbers[name]["energy between modes"] > 0.06
        assert numbers[name]["energy"] > given_audio.measure(drawn(given_audio.exact))[name]["energy"]


def test_one_gaussian_has_the_mean_and_covariance_of_the_mixture(truth):
    parts = [identity_part(truth, "language", 6), identity_part(truth, "vision", 8)]
    means, covariances = (np.array(x) for x in joint(truth, parts))
    (mean,), (covariance,) = joint(one_gaussian(truth), parts)
    expected = truth.weights @ means
    centred = means - expected
    between = np.einsum("c,ci,cj->ij", truth.weights, centred, centred)
    np.testing.assert_allclose(mean, expected, atol=1e-9)
    np.testing.assert_allclose(covariance, np.einsum("c,cij->ij", truth.weights, covariances) + between, atol=1e-9)


def test_draws_that_ignore_what_is_available_do_not_correlate_with_it(truth, given_audio):
    prior = replace(given_audio.exact, latent=truth.prior()[np.zeros(CLIPS, int)])
    numbers = given_audio.measure(drawn(prior))
    for name in ("language", "vision"):
        assert numbers[name]["R^2 of mean"] < 0.1
        assert numbers[name]["variance ratio"] > 1.02
        assert numbers[name]["correlation error"] > 0.5


def test_modalities_drawn_independently_are_wrong_together_alone(given_audio):
    first, second = (drawn(given_audio.exact, seed) for seed in (5, 6))
    numbers = given_audio.measure({"language": first["language"], "vision": second["vision"]})
    joint_draws = given_audio.measure(first)
    for name in ("language", "vision"):
        assert abs(numbers[name]["energy"]) < 0.01
    assert numbers[JOINT]["correlation error"] > 0.5 > 0.05 > joint_draws[JOINT]["correlation error"]
    assert numbers[JOINT]["energy"] > joint_draws[JOINT]["energy"] + 0.001


def test_lengths_that_are_guessed_are_far_from_lengths_that_are_drawn(given_audio):
    constant = {"language": np.full(CLIPS, 13), "vision": np.full(CLIPS, 16)}
    numbers = given_audio.measure(given_audio.exact.sample(DRAWS, np.random.default_rng(0), constant))
    assert numbers["language"]["length TV"] == pytest.approx(1 - 1 / 15)
    assert numbers["vision"]["length TV"] == pytest.approx(1 - 1 / 17)


def test_given_neighbours_exact_draws_pass_and_those_of_the_clip_alone_do_not():
    truth = DialogueTruth.standard()
    rows = on_dialogues(truth, truth.sample(80, seed=3), {}, DRAWS)
    by_name = {name: [row for row in rows if row["draws"] == name] for name in ("exact", "exact, clip alone", "mean")}
    for row in by_name["exact"]:
        assert abs(row["energy"]) < 0.01
        assert row["R^2 of mean"] == pytest.approx(1, abs=0.05)
        assert row["variance ratio of averages"] == pytest.approx(1, abs=0.1)
        assert "modes drawn" not in row
    for row in by_name["exact, clip alone"]:
        assert row["R^2 of mean"] < 0.3
        assert row["correlation error"] > 0.4


def test_summaries_of_one_sequence_by_hand():
    features = np.zeros((1, 1, 3, 2), np.float32)
    features[0, 0, :2] = [[1, 10], [3, 30]]
    summary = summarize(FeatureDraws(features, np.array([[2]])))[0, 0].reshape(GRID + 3, 2)
    np.testing.assert_allclose(summary[:, 1], 10 * summary[:, 0], rtol=1e-6)
    np.testing.assert_allclose(summary[:GRID, 0], np.interp((np.arange(6) + 0.5) / 6, [0.25, 0.75], [1, 3]))
    np.testing.assert_allclose(summary[GRID:, 0], [2, 1, 2])
    matrix, shift = affine_summary(2)(2)
    np.testing.assert_allclose(matrix @ [1, 10, 3, 30] + shift, summary[: GRID + 1].ravel(), rtol=1e-6)
    np.testing.assert_allclose(resampling(5).sum(1), 1)
    single = summarize(FeatureDraws(features[:, :, :1], np.array([[1]])))[0, 0].reshape(GRID + 3, 2)
    np.testing.assert_allclose(single[GRID:, 0], [1, 0, 0])


class ExactImputer(torch.nn.Module):
    """A system that imputes with exact draws: the truth knows the split that its batches come from."""

    def __init__(self, truth, split):
        super().__init__()
        self.truth, self.split, self.spec = truth, split, spec_of({"test": split}, "regression")

    def needs_dialogues(self, split):
        return False

    def impute(self, batch, draws=16, seed=0):
        order = [int(np.flatnonzero(self.split.keys == key)[0]) for key in batch.keys.numpy()]
        available = batch.available.numpy()
        latent = self.truth.latent_posterior(self.split.take(np.array(order)), available)
        filled = {}
        for k, modality in enumerate(self.truth.modalities):
            rows = np.flatnonzero(~available[:, k])
            if len(rows):
                posterior = FeaturePosterior(latent[rows], (modality,))
                x = posterior.sample(draws, np.random.default_rng((seed, 7)))[modality.name]
                filled[modality.name] = ImputedFeatures(
                    torch.from_numpy(rows), torch.from_numpy(x.features), torch.from_numpy(x.lengths)
                )
        return filled


class HalfCodec:
    """Encodes a sequence as its length and average, and decodes a constant sequence."""

    def encode(self, features, lengths):
        return torch.cat([lengths[:, None], features.sum(1) / lengths[:, None]], 1)

    def decode(self, codes, noise):
        lengths = codes[:, 0].long()
        valid = torch.arange(int(lengths.max())) < lengths[:, None]
        return codes[:, None, 1:] * valid[..., None], lengths


@pytest.mark.slow
def test_codecs_are_measured_on_exact_draws(truth, split):
    model = ExactImputer(truth, split)
    model.codecs = {name: HalfCodec() for name in truth.names}
    rows = on_clips(truth, split.take(np.arange(8)), {"system": model}, DRAWS)
    ours = [row for row in rows if row["draws"] == "codecs of system" and "+" not in row["missing"]]
    assert len(ours) == 9
    for row in ours:
        assert row["variance ratio of averages"] == pytest.approx(1, abs=0.3)
        assert row["deviation over time"] == pytest.approx(0, abs=1e-3)
    draws = FeatureDraws(np.ones((2, 3, 5, 4), np.float32), np.full((2, 3), 5))
    (decoded,) = through_codecs(model.codecs, {"audio": draws}).values()
    np.testing.assert_allclose(decoded.features, draws.features)
    np.testing.assert_array_equal(decoded.lengths, draws.lengths)


@pytest.mark.slow
def test_a_system_is_measured_with_its_own_draws(truth, split):
    model = ExactImputer(truth, split)
    rows = on_clips(truth, split, {"system": model}, DRAWS)
    ours = [row for row in rows if row["draws"] == "system" and "+" not in row["missing"]]
    assert len(ours) == 9
    for row in ours:
        assert abs(row["energy"]) < 0.01
        assert row["R^2 of mean"] == pytest.approx(1, abs=0.05)
    times = drawing_times(model, split, draws=2, batch=16)
    assert [(row["missing"], row["clips"], row["draws"]) for row in times] == [(k, CLIPS, 2) for k in truth.names]
    assert all(row["seconds"] > 0 for row in times)
