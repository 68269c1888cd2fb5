"""Losses from adding a modality, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from imder import metrics
from imder.evaluation.additions import FixedPredictions, additions, largest, largest_loss_line
from imder.evaluation.cells import sample_cells

NAMES = ("language", "vision", "audio")
N = 40


@pytest.fixture
def present() -> np.ndarray:
    rng = np.random.default_rng(0)
    some = rng.random((N, 3)) < 0.7
    some[~some.any(axis=1), 0] = True
    return some


def by_subset(present: np.ndarray, values) -> dict[str, np.ndarray]:
    """Predictions of the fixed protocol's cells, nan where nothing is available."""
    found = {}
    for cell in sample_cells(present, NAMES, protocol="fixed"):
        served = cell.mask.any(axis=1)
        whole = values(cell.mask)
        whole[~served] = np.nan
        found[cell.available] = whole
    return found


def test_every_addition_on_the_samples_that_have_it(present: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    labels = rng.normal(size=N)
    noise = rng.normal(size=8)
    predictions = by_subset(present, lambda mask: labels + noise[mask @ (1, 2, 4)])
    found = additions(predictions, present, NAMES, labels, "mosi")
    pairs = {(a.subset, a.added) for a in found}
    assert len(found) == len(pairs) == 9
    for addition in found:
        before = np.isin(NAMES, addition.subset.split("+"))
        k = NAMES.index(addition.added)
        rows = present[:, k] & (present & before).any(axis=1)
        codes = ((present & before)[rows] @ (1, 2, 4), (present & (before | (np.arange(3) == k)))[rows] @ (1, 2, 4))
        expected = np.abs(noise[codes[1]]).mean() - np.abs(noise[codes[0]]).mean()
        assert addition.n == rows.sum()
        assert addition.losses["mae"].tolist() == pytest.approx([expected])
    worst = largest(found, "mae")
    assert worst is not None
    assert worst.losses["mae"][0] == max(a.losses["mae"][0] for a in found)


def test_weights_are_resamples(present: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    labels = rng.normal(size=N)
    predictions = by_subset(present, lambda mask: mask.sum(axis=1) + rng.normal(size=N))
    weights = np.stack([np.ones(N), rng.integers(0, 3, N)]).astype(float)
    repeated = np.repeat(np.arange(N), weights[1].astype(int))
    plain = additions(predictions, present, NAMES, labels, "mosi")
    resampled = additions(predictions, present, NAMES, labels, "mosi", weights)
    again = additions(
        {k: v[repeated] for k, v in predictions.items()}, present[repeated], NAMES, labels[repeated], "mosi"
    )
    for one, two, other in zip(plain, resampled, again, strict=True):
        assert two.losses["mae"].tolist() == pytest.approx([one.losses["mae"][0], other.losses["mae"][0]])


def test_classes_lose_accuracy_where_it_falls(present: np.ndarray) -> None:
    """Only audio misleads: with it the wrong class is likelier, so its additions cost accuracy and likelihood."""
    labels = np.arange(N) % 2
    everything = np.ones_like(present)

    def probabilities(mask: np.ndarray) -> np.ndarray:
        right = np.where(mask[:, 2], 0.4, 0.8)
        return np.stack([np.where(labels == c, right, 1 - right) for c in (0, 1)], axis=1)

    found = additions(by_subset(everything, probabilities), everything, NAMES, labels, "classification")
    for addition in found:
        expected = (1.0, np.log(0.8 / 0.4)) if addition.added == "audio" else (0.0, 0.0)
        assert [addition.losses[m][0] for m in metrics.names_of("classification", "main")] == pytest.approx(expected)
    line = largest_loss_line(found, "classification")
    assert line.endswith(
        "Accuracy +100.0 points (audio added to language, n = 40); NLL +0.693 (audio added to language, n = 40)"
    )


def test_nothing_to_compare() -> None:
    """No sample has both modalities."""
    apart = np.array([[True, False], [False, True]])
    values = {"a": np.array([0.0, np.nan]), "b": np.array([np.nan, 0.0]), "a+b": np.zeros(2)}
    assert additions(values, apart, ("a", "b"), np.zeros(2), "mosi") == []
    assert largest([], "mae") is None
    assert largest_loss_line([], "mosi") == ""


def test_cells_are_kept_as_they_come(present: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    labels = rng.normal(size=N)
    predictions = by_subset(present, lambda mask: labels + mask @ (0.1, -0.2, 0.3))
    kept = FixedPredictions()
    for cell in sample_cells(present, NAMES, protocol="fixed"):
        kept(cell, predictions[cell.available][cell.mask.any(axis=1)])
    one, other = kept.additions(labels, "mosi"), additions(predictions, present, NAMES, labels, "mosi")
    assert [(a.subset, a.added, a.n, a.losses["mae"][0]) for a in one] == [
        (a.subset, a.added, a.n, a.losses["mae"][0]) for a in other
    ]
    assert len(one) == 9
