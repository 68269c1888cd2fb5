"""The vectorised bootstrap against the plain loop, and what intervals must say."""

from __future__ import annotations

import time

import numpy as np
import pytest

from imder import metrics
from imder.benchmarking.bootstrap import cluster_weights
from imder.metrics import CONVENTIONS, evaluate_resamples, names_of

N, J, B = 60, 4, 25


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def labels_of(convention: str, rng: np.random.Generator) -> np.ndarray:
    if convention == "classification":
        return rng.integers(0, 3, N)
    return np.round(rng.uniform(-1, 1, N) * (3 if convention == "mosi" else 1), 1).astype(np.float32)


def predictions_of(convention: str, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if convention == "classification":
        return rng.dirichlet(np.ones(3), (J, N)).astype(np.float32)
    return (labels + rng.standard_normal((J, N)) * 0.7).astype(np.float32)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_weights_are_repeated_rows(convention: str, rng: np.random.Generator) -> None:
    """Each resample as a list of rows, through the ordinary metrics; some samples unserved."""
    labels = labels_of(convention, rng)
    found = predictions_of(convention, labels, rng)
    found[1, :7] = np.nan
    weights = cluster_weights([str(i // 3) for i in range(N)], B, seed=1)
    fast = evaluate_resamples(convention, found, labels, weights, names_of(convention))
    for b in range(B + 1):
        rows = np.repeat(np.arange(N), weights[b].astype(int))
        for j in range(J):
            served = rows[~np.isnan(found[j].reshape(N, -1)[rows, 0])]
            slow = metrics.evaluate(convention, found[j][served], labels[served])
            for name in names_of(convention):
                assert fast[name][b, j] == pytest.approx(slow[name], abs=1e-6), (name, b, j)


def test_clusters_stay_together() -> None:
    weights = cluster_weights(["a", "b", "a", "c"], 50, seed=0)
    assert (weights[0] == 1).all()
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[1:, [0, 1, 3]].sum(1) == 3).all(), "as many clusters as there are"
    assert len(np.unique(weights, axis=0)) > 3


def test_intervals_cover_what_they_should(rng: np.random.Generator) -> None:
    """Errors that truly differ by 0.2 on average: about 95 of 100 intervals hold 0.2, few hold 0."""
    covered = zero = 0
    repeats = 200
    weights = cluster_weights([str(i) for i in range(N)], 400, seed=0)
    for _ in range(repeats):
        labels = rng.standard_normal(N)
        noise = rng.exponential(0.3, N)  # paired: both systems find the same samples hard
        sign = np.where(rng.random(N) < 0.5, -1, 1)
        a, b = labels + sign * noise, labels + sign * (noise + 0.2 + 0.1 * rng.standard_normal(N).clip(-1, 1))
        found = evaluate_resamples("mosi", np.stack([a, b]), labels, weights, ["mae"])["mae"]
        low, high = np.quantile(found[1:, 1] - found[1:, 0], [0.025, 0.975])
        covered += low <= 0.2 <= high
        zero += low <= 0 <= high
    assert 0.88 * repeats < covered < 0.995 * repeats
    assert zero == 0


def test_a_metric_that_is_undefined_is_nan() -> None:
    labels, weights = np.array([0.0, 0.0, 1.0]), np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    found = evaluate_resamples("mosi", np.array([[0.5, 0.5, 0.5]]), labels, weights, ["acc2", "corr"])
    assert np.isnan(found["acc2"][0, 0])
    assert found["acc2"][1, 0] == 1
    assert np.isnan(found["corr"]).all()


def test_a_whole_system_takes_a_moment(rng: np.random.Generator) -> None:
    labels = rng.uniform(-3, 3, 686)
    found = labels + rng.standard_normal((80, 686))
    weights = cluster_weights([str(i // 7) for i in range(686)], 1000, seed=0)
    started = time.perf_counter()
    evaluate_resamples("mosi", found, labels, weights, names_of("mosi", "comparison"))
    assert time.perf_counter() - started < 20, "ten systems of three seeds are thirty of these"
