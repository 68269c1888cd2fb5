"""What is bold: systems that are significantly better than each that they compete with."""

from __future__ import annotations

import numpy as np
import pytest

from imder.benchmarking.pairs import bold_cells, bold_note, pair_rows
from imder.benchmarking.resampled import ResampledModels, compared_metrics
from imder.metrics import CONVENTIONS, names_of

SETTING = ("random", 0.5, "")


def measured(**means: float) -> ResampledModels:
    """Models whose metrics all have these means, with errors of .01 that are independent."""
    rng = np.random.default_rng(0)

    def metrics(mean: float) -> dict[str, np.ndarray]:
        errors = rng.standard_normal(200) * 0.01
        return {m: np.concatenate([[mean], mean + errors]) for m in compared_metrics("mosi")}

    seeds = {name: {0: {SETTING: metrics(mean)}} for name, mean in means.items()}
    return ResampledModels(seeds, {}, {("random", 0.5): 0.5}, clusters=40, convention="mosi")


def bold(metric: str, rows: list) -> list[str]:
    return sorted(model for *setting, name, model in bold_cells(rows) if (name, *setting) == (metric, *SETTING))


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_every_metric_of_a_table_is_tested(convention: str) -> None:
    shown = {*names_of(convention, "table"), *names_of(convention, "paper")}
    assert shown <= set(compared_metrics(convention))


def test_the_better_one_of_two() -> None:
    rows = pair_rows(measured(a=0.5, b=0.6), (), "holm")
    assert len(rows) == len(compared_metrics("mosi"))
    assert bold("f1", rows) == bold("acc7", rows) == ["b"]
    assert bold("mae", rows) == ["a"], "smaller errors are better"
    assert all(row["p_holm"] >= row["p"] for row in rows)


def test_none_where_the_best_two_cannot_be_told_apart() -> None:
    rows = pair_rows(measured(a=0.5, b=0.6, c=0.605), (), "holm")
    assert bold("acc2", rows) == []
    assert bold("mae", rows) == ["a"]


def test_columns_beside_compete_among_themselves() -> None:
    models = measured(a=0.5, b=0.6, x=0.9, y=0.7)
    rows = pair_rows(models, ("x", "y"), "holm")
    assert {(row["model"], row["reference"]) for row in rows} == {("a", "b"), ("x", "y")}
    assert bold("acc2", rows) == ["b", "x"]
    note = bold_note(rows, "random", ("x", "y"))
    assert "better than each other system (x, y among themselves), p < .05 after Holm's correction over 10" in note
    assert bold_note(rows, "fixed", ()) == ""
    assert bold("acc2", pair_rows(models, ("b", "x", "y"), "holm")) == ["x"]


def test_a_correction_makes_it_harder() -> None:
    models = measured(a=0.5, b=0.535)
    assert bold("acc2", pair_rows(models, (), "none")) == ["b"]
    assert bold("acc2", pair_rows(models, (), "holm")) == []
    assert "without a correction" in bold_note(pair_rows(models, (), "none"), "random", ())


def test_differences_of_rounding_are_none() -> None:
    models = measured(a=0.5, b=0.5)
    models.by_seed["b"] = {0: {SETTING: {m: x * (1 + 3e-6) for m, x in models.by_seed["a"][0][SETTING].items()}}}
    rows = pair_rows(models, (), "none")
    assert {(row["difference"], row["low"], row["high"], row["p"]) for row in rows} == {(0.0, 0.0, 0.0, 1.0)}
    assert not bold_cells(rows)


@pytest.mark.parametrize(("convention", "factor"), [("mosi", 0.5), ("sims", 1.0)])
def test_areas_under_the_curve_are_those_of_the_convention(convention: str, factor: float) -> None:
    """From rate 0 to .5 the area is half the mean; for CH-SIMS it is divided by that range."""
    settings = {("frames", rate, ""): {"acc2": np.array([value, value])} for rate, value in ((0.0, 0.8), (0.5, 0.6))}
    rates = {("frames", rate): rate for rate in (0.0, 0.5)}
    models = ResampledModels({"a": {0: settings}}, {}, rates, clusters=2, convention=convention)
    mine, theirs = models.paired([settings], [settings])
    area = mine["frames", None, "AUILC, 0 to 0.5"]["acc2"]
    assert area == pytest.approx([0.7 * factor, 0.7 * factor])
    assert theirs.keys() == mine.keys()
