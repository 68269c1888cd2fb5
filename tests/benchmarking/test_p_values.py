"""P-values of bootstrapped differences, and Holm's correction, against hand-worked examples and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from imder.benchmarking.bootstrap import cluster_weights
from imder.benchmarking.p_values import (
    holm,
    is_significant,
    p_value,
    significance_note,
    t_probability,
    with_correction,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_holm_by_hand() -> None:
    """Four p-values, sorted .005, .01, .03, .04: times 4, 3, 2, 1 is .02, .03, .06, .04, and none falls again."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_undefined_values_do_not_count() -> None:
    corrected = holm([math.nan, 0.02, math.nan, 0.01])
    assert corrected[1::2] == pytest.approx([0.02, 0.02])
    assert math.isnan(corrected[0])
    assert math.isnan(corrected[2])


def test_holm_is_the_step_down_procedure(rng: np.random.Generator) -> None:
    """Rejecting corrected values up to alpha is: from the smallest on, reject while p_(i) <= alpha / (m - i + 1)."""
    for _ in range(200):
        m = int(rng.integers(1, 9))
        p = np.round(rng.random(m) ** 3, 2)  # with ties
        alpha = float(rng.choice([0.01, 0.05, 0.2]))
        order = np.argsort(p, kind="stable")
        rejected = np.zeros(m, dtype=bool)
        for i, index in enumerate(order):
            if p[index] * (m - i) > alpha:
                break
            rejected[index] = True
        assert [value <= alpha for value in holm(p.tolist())] == rejected.tolist()


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 10, 29, 200, 999, 1000, 5000])
def test_students_t(freedom: int) -> None:
    for t in (0.0, 0.3, -1.96, 2.5, 4.0, 9.0):
        tolerance = 1e-12 if freedom <= 1000 else 2e-4
        assert t_probability(t, freedom) == pytest.approx(2 * stats.t.sf(abs(t), freedom), abs=tolerance)


def test_the_p_value_is_that_of_the_paired_t_test(rng: np.random.Generator) -> None:
    """Of a mean over clusters of one size, but for the bootstrap's own error: 8 clusters of 5 samples."""
    errors = rng.standard_normal((8, 1)) * 0.5 + 0.4 + rng.standard_normal((8, 5)) * 0.2
    weights = cluster_weights([str(c) for c in np.repeat(np.arange(8), 5)], 20_000, seed=0)
    resampled = weights @ errors.ravel() / weights.sum(1)
    expected = stats.ttest_1samp(errors.mean(1), 0).pvalue
    assert p_value(resampled, 8) == pytest.approx(expected, rel=0.05)


def test_differences_without_a_p_value() -> None:
    assert p_value(np.zeros(20), 5) == 1
    for difference, clusters in ((np.full(20, np.nan), 5), (np.full(20, 0.3), 5), (np.linspace(0, 1, 20), 1)):
        assert math.isnan(p_value(difference, clusters))


def test_true_zeros_are_rarely_significant(rng: np.random.Generator) -> None:
    """About 5 of 100 of them alone; about 5 of 100 families of ten with a correction."""
    weights = cluster_weights([str(i) for i in range(40)], 200, seed=0)
    families = rng.standard_normal((150, 10, 40)) @ weights.T / weights.sum(1)
    values = [[p_value(difference, 40) for difference in family] for family in families]
    assert 0.03 < np.mean(np.array(values) < 0.05) < 0.07
    assert np.mean([min(holm(family)) < 0.05 for family in values]) < 0.12


def test_families_are_corrected_by_themselves() -> None:
    rows = [{"table": t, "p": p, "low": 0.1, "high": 0.2} for t, p in (("a", 0.03), ("b", 0.03), ("a", 0.01))]
    corrected = with_correction(rows, ("table",), "holm")
    assert [row["p_holm"] for row in corrected] == pytest.approx([0.03, 0.03, 0.02])
    assert with_correction(rows, ("table",), "none") == rows
    assert [is_significant(row) for row in with_correction(rows, (), "holm")] == [False, False, True]
    assert all(is_significant(row) for row in rows)
    assert not is_significant(rows[0] | {"low": -0.1})
    assert not is_significant(rows[0] | {"p": math.nan})
    assert "over 3 comparisons (all)" in significance_note(with_correction(rows, (), "holm"), "all")
    assert "without a correction for 3 comparisons (all)" in significance_note(rows, "all")
