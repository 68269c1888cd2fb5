"""What the benchmarks measure with is itself held against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dialogues import EVIDENCE, bayes_errors, recoverable
from distances import energy_distance, sliced_wasserstein
from known import Case, Encoders, absolute_error
from known_dialogues import DialogueCase
from measure import alternate, flops, markdown, ratio
from startup import cpu_seconds
from uncertainty import exact_scores

from imder.models.imder.training import IMDer
from imder.models.presets import read_preset
from imder.models.registry import build
from imder.synthetic.dialogue_truth import DialogueTruth
from imder.synthetic.known_truth import KnownTruth
from imder.synthetic.posterior import LabelPosterior


@pytest.fixture
def draws():
    return np.random.default_rng(0).standard_normal((400, 3, 6))


def test_a_shift_is_a_distance_of_its_size(draws):
    x = draws
    assert sliced_wasserstein(x, x) == 0
    assert sliced_wasserstein(x + 2.0, x, slices=4000) == pytest.approx(2.0, rel=0.03)


def test_the_unbiased_energy_distance_sees_what_is_too_narrow():
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((2, 200, 40, 6))
    same, narrow = (energy_distance(s * x, y, unbiased=True) for s in (1.0, 0.8))
    assert abs(same) < 0.002
    assert narrow > 0.005


def test_energy_distance_of_two_points():
    x, y = np.zeros((5, 2, 4)), np.full((7, 2, 4), 3.0)
    assert energy_distance(x, y) == pytest.approx(2 * 3.0)  # |x - y| = 3 sqrt(4), over sqrt(4)
    assert energy_distance(x, x) == 0


def test_energy_distance_grows_with_a_shift_and_is_small_for_the_same_law(draws):
    other = np.random.default_rng(1).standard_normal(draws.shape)
    same, near, far = (energy_distance(draws + d, other) for d in (0.0, 0.5, 2.0))
    assert 0 < same < 0.05 < near < far


def test_expected_absolute_error_by_monte_carlo():
    rng = np.random.default_rng(2)
    weights, means, stds = np.array([[0.3, 0.7]]), np.array([[-2.0, 1.5]]), np.array([[0.5, 1.5]])
    posterior = LabelPosterior(weights, means, stds)
    component = rng.choice(2, 400_000, p=weights[0])
    y = np.clip(rng.normal(means[0, component], stds[0, component]), -3, 3)
    for prediction in (-3.0, -0.4, 1.0, 3.5):
        expected = abs(y - prediction).mean()
        assert absolute_error(posterior, np.array([prediction]))[0] == pytest.approx(expected, abs=0.01)


def test_exact_draws_pass_and_shifted_ones_do_not():
    truth = KnownTruth.standard(lengths={"language": (2, 3), "vision": (3, 4), "audio": (2, 2)})
    corpus = truth.corpus(200, 20, 20, seed=0)
    config = read_preset("fast")["model"] | {"encoder": {"width": 8, "steps": 4}}
    torch.manual_seed(0)
    model = build("imder", config, corpus.spec)
    assert isinstance(model, IMDer)
    encoders = Encoders(model, corpus["train"])
    case = Case(truth, encoders, corpus["test"].take(np.arange(8)), "vision", ("language", "audio"), 64)
    good, poor = case.measure(case.again), case.measure(case.again + 0.7 * case.unit)
    assert good["mean error"] < 0.1
    assert good["variance ratio"] == pytest.approx(1, abs=0.1)
    assert poor["mean error"] == pytest.approx(0.7, abs=0.1)
    assert poor["variance ratio"] == pytest.approx(good["variance ratio"], abs=1e-6)
    for key in ("sliced W2", "energy"):
        assert poor[key] > 1.5 * good[key]
    lost = case.lost_to_encoding()
    assert lost["deviation given raw features"] <= lost["deviation given encodings"] * (1 + 1e-6)
    assert case.bayes <= lost["Bayes label MAE given encodings"] + 1e-9
    sampled = case.sample("dpmpp_2m", 3)
    assert sampled.shape == case.drawn.shape
    assert model.config.recovery.evaluations == model.recovery.config.evaluations == 8


def test_timings_alternate_and_ratios_are_paired():
    order = []
    taken = alternate({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, repetitions=2, warmup=1)
    assert order == ["a", "b"] * 3
    assert {k: len(v) for k, v in taken.items()} == {"a": 2, "b": 2}
    assert ratio([2.0, 9.0, 4.0], [1.0, 3.0, 4.0]) == (2.0, 1.0, 3.0)


def test_counted_arithmetic_and_tables():
    a, b = torch.randn(3, 4), torch.randn(4, 5)
    assert flops(lambda: a @ b) == 2 * 3 * 4 * 5
    query, key = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    attend = torch.nn.functional.scaled_dot_product_attention
    assert flops(lambda: attend(query, key, key)) == 2 * (2 * 2 * 3 * 5 * 8)
    assert markdown([{"a": "x", "b": 0.12345}]) == "| a | b |\n|---|---:|\n| x | 0.123 |"


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_exact_scores_are_those_of_each_samples_own_subset(task):
    truth = KnownTruth.standard()
    split = truth.sample(40, 0, task=task)
    mask = np.random.default_rng(0).random((40, 3)) < 0.5
    mask[~mask.any(1)] = True
    found = exact_scores(truth, split, task)(mask)
    posterior = truth.label_posterior(split, mask)
    if task == "regression":
        expected = posterior.crps(split.labels)
    else:
        expected = -np.log(posterior.class_probabilities(truth.edges)[np.arange(40), split.labels])
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_exact_scores_on_dialogues_are_those_of_whole_masks():
    truth = DialogueTruth.standard()
    split = truth.sample(60, 0)
    mask = np.random.default_rng(0).random((60, 3)) < 0.5
    scores = exact_scores(truth, split, "regression")(mask)
    np.testing.assert_allclose(scores, truth.label_posterior(split, mask).crps(split.labels), rtol=1e-9)
    assert scores.mean() < truth.label_posterior(split, mask, window=0).crps(split.labels).mean()


def test_start_up_is_measured_in_seconds_of_cpu():
    idle, busy = (cpu_seconds(["-c", code], rounds=2) for code in ("import time; time.sleep(.3)", "sum(range(10**7))"))
    assert 0 < idle < 0.3
    assert busy > idle


def test_optima_on_dialogues_are_those_of_the_labels_and_fall_with_evidence():
    truth = DialogueTruth.standard()
    split = truth.sample(600, seed=0)
    complete, half = bayes_errors(truth, split, range(2), rates=(0.0, 0.5))
    expected = abs(truth.label_posterior(split, split.present).median() - split.labels)
    assert complete["both, whole dialogue"] == pytest.approx(expected.mean(), abs=4 * expected.std() / 600**0.5)
    for row in (complete, half, *recoverable(truth, split)):
        sign = 1 if "modality" in row else -1
        values = [sign * row[name] for name in EVIDENCE]
        assert values == sorted(values)
    assert half["both, window 4"] < 0.9 * half["clip alone"]


def test_exact_draws_given_neighbours_pass_and_those_of_the_clip_alone_do_not():
    truth = DialogueTruth.standard(lengths={"language": (2, 3), "vision": (3, 4), "audio": (2, 3)})
    corpus = truth.corpus(200, 20, 60, seed=0)
    config = read_preset("fast")["model"] | {
        "encoder": {"width": 8, "steps": 4},
        "context": {"direction": "both", "window": 2},
    }
    torch.manual_seed(0)
    model = build("imder", config, corpus.spec)
    assert isinstance(model, IMDer)
    with torch.no_grad():  # untrained networks ignore their condition: their last layers are zero
        for parameter in model.recovery.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    available = np.random.default_rng(0).random((60, 3)) < 0.6
    case = DialogueCase(truth, Encoders(model, corpus["train"]), corpus["test"], available, "audio", 64, window=2)
    assert (available[case.rows].any(axis=1) & ~available[case.rows, 2]).all()
    good = case.measure(case.again)
    alone = case.measure(case.alone.sample(64, np.random.default_rng(1)))
    assert good["mean error"] < 0.1
    assert good["variance ratio"] == pytest.approx(1, abs=0.1)
    assert alone["mean error"] > 0.3
    assert alone["energy, unbiased"] > good["energy, unbiased"] + 0.02
    assert alone["variance ratio"] > 1.2
    assert good["R^2"] == pytest.approx(case.r2(case.mean), abs=0.03)
    assert abs(case.r2(case.alone.mean())) < 0.05 < 0.2 < case.r2(case.mean)
    sampled = case.sample(evaluations=2)
    assert sampled.shape == case.drawn.shape
    changed = available.copy()
    changed[np.setdiff1d(np.arange(60), case.rows)] = False  # the neighbours' cells reach the network
    silent = DialogueCase(truth, case.encoders, corpus["test"], changed, "audio", 64, window=2)
    assert (silent.rows == case.rows).all()
    assert not np.allclose(silent.sample(evaluations=2), sampled)
