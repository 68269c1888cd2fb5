from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from imder.evaluation.plots import plot_differences, plot_rates
from imder.evaluation.rendering import render_markdown
from imder.evaluation.results import summarise
from imder.evaluation.tables import default_metrics, make_table, rich_table
from imder.types import ImderError


def row(model: str, rate: float | None, draw: int = 0, available: str = "", **values: float) -> dict:
    return {
        "model": model,
        "run": "r",
        "corpus": "tiny",
        "split": "test",
        "protocol": "fixed" if rate is None else "random",
        "rate": rate,
        "effective_rate": values.pop("effective_rate", rate or 0.0),
        "available": available,
        "draw": draw,
        "seed": 0,
        "n": values.pop("n", 100),
        **values,
    }


def markdown(*args, **kwargs) -> str:
    return render_markdown(make_table(*args, **kwargs))


@pytest.fixture
def rows() -> list[dict]:
    found = []
    for rate in (0.0, 0.5):
        for draw, shift in enumerate((-0.01, 0.0, 0.01)):
            found += [
                row("imder", rate, draw, acc2=0.812 + shift - rate / 10, acc7=0.4, mae=0.75 + rate + shift),
                row("zero-fill", rate, draw, acc2=0.80 + shift - rate / 10, acc7=0.4, mae=0.7 + rate + shift),
                row("bayes", rate, draw, acc2=0.9 - rate / 10, acc7=0.5, mae=0.6),
                row("constant", rate, draw, acc2=0.55, acc7=0.2, mae=1.2),
            ]
    return found


def test_percent_decimals_and_bold(rows: list[dict]) -> None:
    lines = markdown(summarise(rows), metrics=("acc2", "mae")).splitlines()
    assert lines[0] == "| MR | imder ACC2 | imder MAE | zero-fill ACC2 | zero-fill MAE | bayes ACC2 | bayes MAE |"
    assert lines[1].startswith("| --- | ---: |")
    assert lines[2] == (
        "| 0 | **81.2 ± 1.0** | 0.750 ± 0.010 | 80.0 ± 1.0 | **0.700 ± 0.010** | 90.0 ± 0.0 | 0.600 ± 0.000 |"
    )
    assert lines[3].startswith("| 0.5 | **76.2 ± 1.0** | 1.250 ± 0.010 |")
    assert lines[4] == "| average | **78.7** | 1.000 | 77.5 | **0.950** | 87.5 | 0.600 |"
    assert lines[5:] == ["", "constant, in every row: ACC2 55.0, MAE 1.200."]


def test_equal_systems_are_both_bold_and_a_lone_one_is_not(rows: list[dict]) -> None:
    assert markdown(summarise(rows), metrics=("acc7",)).count("**40.0 ± 0.0**") == 4
    alone = [r for r in rows if r["model"] in ("imder", "constant")]
    assert "**" not in markdown(summarise(alone))


def test_a_single_rate_has_the_columns_of_several(rows: list[dict]) -> None:
    tables = [make_table(summarise([r for r in rows if r["rate"] in rates])) for rates in ((0.0,), (0.0, 0.5))]
    assert tables[0].headers == tables[1].headers
    assert tables[0].notes[0].startswith("constant: ACC2 55.0")


def test_a_rate_that_is_not_reached_is_explained(rows: list[dict]) -> None:
    table = make_table(summarise([r | {"effective_rate": 0.9 * r["rate"]} for r in rows]), metrics=("mae",))
    assert table.headers[1] == "eff.\nMR"
    assert table.notes[-1].startswith("eff. MR: the share of modalities that is missing")


def test_fixed_subsets_with_their_samples() -> None:
    found = [
        row("imder", None, available="language", acc2=0.8, acc7=0.4, n=90, mae=0.8),
        row("imder", None, available="audio", acc2=0.5, acc7=0.2, n=80, mae=math.nan),
    ]
    lines = markdown(summarise(found), "fixed", ("acc2", "mae")).splitlines()
    assert lines[0] == "| available | n | ACC2 | MAE |"
    assert make_table(summarise(found), "fixed").title.startswith("imder on ")
    assert lines[2:] == ["| language | 90 | 80.0 | 0.800 |", "| audio | 80 | 50.0 | – |"]


def test_the_true_rate_is_shown_where_it_differs() -> None:
    found = [row("imder", 0.7, effective_rate=2 / 3, accuracy=0.5, macro_f1=0.4, nll=1.5)]
    assert markdown(summarise(found)).splitlines()[2] == "| 0.7 | 0.667 | 50.0 | 40.0 | 1.500 |"


def test_default_metrics_follow_the_convention() -> None:
    mosi = dict.fromkeys(("acc2", "f1", "acc2_has0", "f1_has0", "acc7", "acc5", "mae", "corr"), 0.0)
    sims = dict.fromkeys(("acc2", "f1", "acc3", "acc5", "mae", "corr"), 0.0)
    classes = dict.fromkeys(("accuracy", "balanced_accuracy", "weighted_f1", "macro_f1", "nll", "ece"), 0.0)
    assert default_metrics(summarise([row("m", 0.1, **mosi)])) == ("acc2", "f1", "acc7", "mae", "corr")
    assert default_metrics(summarise([row("m", 0.1, **sims)])) == ("acc2", "f1", "acc5", "mae", "corr")
    assert default_metrics(summarise([row("m", 0.1, **classes)])) == ("accuracy", "macro_f1", "nll")


def drawn(table: object, width: int) -> str:
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=False).print(table)
    return file.getvalue()


def test_a_narrow_terminal_gets_blocks_of_columns(rows: list[dict]) -> None:
    summary = summarise(rows)
    wide = drawn(rich_table(summary, metrics=("acc2", "mae")), 200)
    assert wide.count("MR") == 1
    narrow = drawn(rich_table(summary, metrics=("acc2", "mae"), width=60), 60)
    assert narrow.count("MR") == 3
    assert narrow.count("tiny [test], random protocol") == narrow.count("constant, in every row") == 1
    for width in range(36, 140):
        text = drawn(rich_table(summary, metrics=("acc2", "mae"), width=width), width)
        assert "…" not in text
        assert all(len(line) <= width for line in text.splitlines())
        assert "81.2 ± 1.0" in text
        assert all(name in text for name in ("imder", "zero-fill", "bayes"))


def test_one_systems_weight_of_recoveries_is_a_column(rows: list[dict]) -> None:
    weighted = [r | {"recovery_weight": r["rate"]} if r["model"] == "imder" else r for r in rows]
    lines = markdown(summarise(weighted), metrics=("acc2",)).splitlines()
    assert lines[0].startswith("| MR | rec. weight | imder ACC2 |")
    assert [line.split(" | ")[1] for line in lines[2:5]] == ["0.00", "0.50", ""]
    both = [r | {"recovery_weight": r["rate"]} for r in rows if r["model"] in ("imder", "zero-fill")]
    assert "rec. weight" not in markdown(summarise(both))


def test_what_cannot_be_shown_is_said(rows: list[dict], tmp_path) -> None:
    summary = summarise(rows)
    with pytest.raises(ImderError, match="fixed"):
        make_table(summary, "fixed")
    with pytest.raises(ImderError, match="'f9'"):
        make_table(summary, metrics=("f9",))
    with pytest.raises(ImderError, match="several corpora"):
        make_table([*summary, summary[0] | {"corpus": "other"}])
    with pytest.raises(ImderError, match="nothing to plot"):
        plot_rates(rows, "f9", tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_plot(rows: list[dict], tmp_path) -> None:
    path = tmp_path / "plots" / "mae.png"
    plot_rates(rows, "mae", path)
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert data.rstrip().endswith(b"IEND\xaeB`\x82")
    assert len(data) > 10_000
    assert [p.name for p in path.parent.iterdir()] == ["mae.png"]


def test_many_systems_and_a_promised_level_in_a_plot(rows: list[dict], tmp_path) -> None:
    names = ("imder", "gcnet", "mmin", "ridge", "regression", "mult", "constant")
    many = [r | {"model": n, "coverage": 0.9} for r in rows if r["model"] == "imder" for n in names]
    plot_rates(many, "coverage", tmp_path / "coverage.png")
    assert (tmp_path / "coverage.png").stat().st_size > 20_000


def test_plot_of_differences(tmp_path) -> None:
    about = {"protocol": "random", "rate": None, "available": "average", "reference": "imder"}
    found = [
        about | {"model": model, "metric": metric, "difference": d, "low": d - 0.1, "high": d + 0.1}
        for model, d in (("ridge", 0.3), ("gcnet", 0.05))
        for metric in ("acc2", "mae")
    ]
    plot_differences(found, tmp_path / "d.png", protocol="random")
    assert (tmp_path / "d.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ImderError, match="no systems were compared under the fixed protocol"):
        plot_differences(found, tmp_path / "e.png", protocol="fixed")


def test_a_constant_baseline_that_varies_is_one_note() -> None:
    found = [
        row(model, None, available=available, mae=mae, n=n)
        for model, shift in (("imder", 0.0), ("constant", 0.4))
        for available, mae, n in (("language", 0.8 + shift, 90), ("audio", 0.81 + shift, 80))
    ]
    table = make_table(summarise(found), "fixed", ("mae",))
    assert table.headers == ("available", "n", "MAE")
    assert table.notes == ("constant, in every row: MAE 1.200 to 1.210.",)
