"""What sums up a metric over missing rates: averages and the published area under the line, worked out by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest

from imder.benchmarking.benchmark import _default_rates
from imder.evaluation.cells import FRAME_RATES, RATES, default_rates
from imder.evaluation.curve import area_weights, summaries
from imder.evaluation.results import averages
from imder.evaluation.tables import make_table

VALUES = [0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.25, 1.3, 1.35, 1.4, 1.45]
"""A metric at the rates 0, .1, ..., 1."""


def rows_of(values, rates, protocol="frames", metric="mae", draw=0, model="m"):
    about = {"model": model, "run": "r", "seed": 0, "corpus": "c", "split": "test", "available": "", "n": 9}
    return [
        about | {"protocol": protocol, "rate": rate, "draw": draw, "effective_rate": 0.0, metric: value}
        for rate, value in zip(rates, values, strict=True)
    ]


def test_auilc_is_the_published_sum_over_neighbouring_rates():
    by_hand = sum((a + b) / 2 * 0.1 for a, b in pairwise(VALUES))
    assert by_hand == pytest.approx(1.1775)
    assert area_weights(FRAME_RATES) @ VALUES == pytest.approx(by_hand)
    assert summaries("frames", FRAME_RATES, [0] * 11)["AUILC, 0 to 1"] @ VALUES == pytest.approx(by_hand)


def test_auilc_of_ch_sims_is_divided_by_the_range():
    values, rates = [0.5, 0.52, 0.56, 0.57, 0.6, 0.65], FRAME_RATES[:6]
    by_hand = sum((a + b) / 2 * 0.1 for a, b in pairwise(values)) / 0.5
    assert by_hand == pytest.approx(0.565)
    assert summaries("mixed", rates, [0] * 6, sims=True)["AUILC, 0 to 0.5"] @ values == pytest.approx(by_hand)
    rows = [row | {"acc3": 0.6} for row in rows_of(values, rates)]
    area = {row["available"]: row["mae"] for row in averages(rows)}
    assert area["AUILC, 0 to 0.5"] == pytest.approx(by_hand)
    assert area["average, 0 to 0.5"] == pytest.approx(np.mean(values))


def test_the_mean_leaves_out_the_rate_that_erases_everything():
    weights = summaries("frames", FRAME_RATES, [0] * 11)["average, 0 to 0.9"]
    assert weights @ VALUES == pytest.approx(np.mean(VALUES[:10]))
    assert weights[10] == 0


def test_there_is_no_area_unless_the_rates_start_at_0():
    assert list(summaries("frames", (0.3, 0.5), [0, 0])) == ["average, 0.3 to 0.5"]
    assert list(summaries("frames", (0.0, 1.0), [0, 0])) == ["AUILC, 0 to 1"]
    assert list(summaries("random", (0.0, 0.5), [0, 0.5])) == ["average"]
    assert list(summaries("frames", (None,), [0])) == ["average"]


def test_the_deviation_of_an_area_is_that_over_draws_and_orders_of_rows_do_not_matter():
    rows = rows_of(VALUES, FRAME_RATES) + rows_of([v + 0.1 for v in VALUES], FRAME_RATES, draw=1)
    area = {row["available"]: row for row in averages(rows[::-1])}["AUILC, 0 to 1"]
    assert area["mae"] == pytest.approx(1.1775 + 0.05)
    assert area["mae_sd"] == pytest.approx(0.1 / math.sqrt(2))


def test_a_rate_without_a_value_counts_only_where_it_has_a_weight():
    values = [*VALUES[:10], math.nan]
    found = {row["available"]: row["mae"] for row in averages(rows_of(values, FRAME_RATES))}
    assert found["average, 0 to 0.9"] == pytest.approx(np.mean(VALUES[:10]))
    assert math.isnan(found["AUILC, 0 to 1"])


def test_tables_end_with_both_conventions():
    summary = [row | {"runs": 1, "draws": 1} for row in rows_of(VALUES, FRAME_RATES)]
    for mean in ((), averages(rows_of(VALUES, FRAME_RATES))):
        table = make_table(summary, "frames", ["mae"], averages=mean)
        last = {row[0][0]: row[1][0] for row in table.rows[-2:]}
        assert last == {"average, 0 to 0.9": "1.150", "AUILC, 0 to 1": "1.177"}
        assert "eff.\nMR" not in table.headers
        assert any("leaves out rate 1" in note for note in table.notes)


def test_published_rates_are_the_default():
    assert default_rates(["random", "fixed"]) == RATES
    assert default_rates(["random", "mixed"]) == FRAME_RATES == tuple(r / 10 for r in range(11))
    assert _default_rates(["frames"], True, "sims") == FRAME_RATES[:6]
    assert _default_rates(["frames"], False, "sims") == _default_rates(["frames"], True, "mosi") == FRAME_RATES
    assert _default_rates(["random"], True, "sims") == RATES
