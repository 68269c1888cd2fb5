from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imder.calibration.conformal import MAX_SCORES, Scores, class_scores, intervals, prediction_sets, value_scores
from imder.types import ImderError

levels = st.floats(0.05, 0.99)


@given(st.lists(st.integers(-20, 20), min_size=2, max_size=60), levels)
def test_what_is_promised_holds_for_exchangeable_scores(scores: list[int], level: float) -> None:
    """Each of n + 1 scores in turn is the new one: the share that is covered is the probability, whatever the scores."""
    r = np.array(scores, dtype=np.float64)
    covered = [r[i] <= Scores.of(np.delete(r, i), len(r) - 1).threshold(level) for i in range(len(r))]
    assert np.mean(covered) >= level - 1e-9


@settings(max_examples=30)
@given(st.integers(2, 80), levels, st.integers(0, 1000))
def test_without_ties_hardly_more_is_covered(n: int, level: float, seed: int) -> None:
    r = np.random.default_rng(seed).permutation(n + 1).astype(np.float64)
    covered = np.mean([r[i] <= Scores.of(np.delete(r, i), n).threshold(level) for i in range(n + 1)])
    assert covered < level + 1 / (n + 1) + 1e-9


@settings(max_examples=30)
@given(st.integers(MAX_SCORES + 1, 5000), levels)
def test_many_scores_are_cut_down_safely(n: int, level: float) -> None:
    every, kept = np.arange(n, dtype=np.float64), Scores.of(np.arange(n, dtype=np.float64), n)
    exact = every[int(np.ceil((n + 1) * level - 1e-9)) - 1]
    assert len(kept.values) == MAX_SCORES
    assert exact <= kept.threshold(level) <= exact + n / MAX_SCORES + 1


def test_few_samples_promise_nothing_less_than_everything() -> None:
    scores = Scores.of(np.arange(8.0), 8)
    assert scores.threshold(0.9) == np.inf
    low, high = intervals(np.zeros((2, 5)), scores.threshold(0.9), (-3, 3))
    assert (low.tolist(), high.tolist()) == ([-3, -3], [3, 3])
    assert prediction_sets(np.array([[0.9, 0.1, 0.0]]), np.inf).all()


def test_a_sample_under_several_subsets_counts_once() -> None:
    thrice = np.repeat(np.arange(20.0), 3)
    assert Scores.of(thrice, 20).threshold(0.9) == Scores.of(np.arange(20.0), 20).threshold(0.9)


def test_intervals_hold_what_their_scores_allow() -> None:
    rng = np.random.default_rng(0)
    points = np.sort(rng.standard_normal((200, 40)), axis=1)
    y = np.clip(rng.standard_normal(200) * 1.5, -2, 2)
    for q in (-0.4, 0.0, 0.7):
        low, high = intervals(points, q, (-2, 2))
        np.testing.assert_array_equal((low <= y) & (y <= high), value_scores(points, y) <= q)
    low, high = intervals(points, -50.0, (-2, 2))
    np.testing.assert_array_equal(low, high)  # nothing is narrower than a point


def test_sets_are_never_empty() -> None:
    p = np.array([[0.4, 0.35, 0.25], [0.9, 0.05, 0.05]])
    assert prediction_sets(p, 0.0).tolist() == [[True, False, False], [True, False, False]]
    assert prediction_sets(p, 0.65).tolist() == [[True, True, False], [True, False, False]]
    assert class_scores(p, np.array([1, 0])).tolist() == pytest.approx([0.65, 0.1])


@pytest.mark.parametrize("level", [0.0, 1.0, 90, -0.1, float("nan")])
def test_levels(level: float) -> None:
    with pytest.raises(ImderError, match="between 0 and 1"):
        Scores.of(np.arange(9.0), 9).threshold(level)
