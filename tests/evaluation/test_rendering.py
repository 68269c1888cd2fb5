from __future__ import annotations

import io

import pytest
from rich.console import Console

from imder.evaluation.rendering import Table, escape_latex, render_latex, render_markdown, render_rich, table_width
from imder.evaluation.results import averages, summarise
from imder.evaluation.tables import make_table, paper_table


def table() -> Table:
    row = (("0.1", False), ("81.2 ± 0.9", True), ("40.0", False), ("–", False), ("–", False))
    heads = ("MR", "a_b\nACC2", "a_b\nACC7", "c\nACC2", "c\nACC7")
    return Table("50 % of {x}", heads, (row,), notes=("a_b: so & so",), joined=2)


@pytest.mark.parametrize("special", list('\\&%$#_{}~^<>|"±–'))
def test_every_special_character_is_escaped(special: str) -> None:
    escaped = escape_latex(f"a{special}b")
    assert escaped.startswith("a")
    assert escaped.endswith("b")
    assert escaped != f"a{special}b"
    if special in "&%$#_{}":
        assert escaped == f"a\\{special}b"


def test_escaping_happens_once() -> None:
    assert escape_latex(r"\&{}") == r"\textbackslash{}\&\{\}"


def test_latex() -> None:
    text = render_latex(table())
    assert r"\caption{50 \% of \{x\}}" in text
    assert r"\multicolumn{1}{c}{a\_b}" in text
    assert r"0.1 & \textbf{81.2 $\pm$ 0.9} / 40.0 & -- \\" in text
    assert r"a\_b: so \& so" in text
    assert text.count(r"\begin{tabular}{lrr}") == text.count(r"\end{tabular}") == 1
    assert all(f"\\{rule}rule" in text for rule in ("top", "mid", "bottom"))


def test_columns_of_a_system_are_spanned() -> None:
    plain = Table("t", table().headers, table().rows)
    assert r"\multicolumn{2}{c}{a\_b} & \multicolumn{2}{c}{c} \\" in render_latex(plain)


def test_markdown_and_terminal() -> None:
    assert render_markdown(table()).splitlines()[2] == "| 0.1 | **81.2 ± 0.9** / 40.0 | – |"
    out = io.StringIO()
    Console(file=out, width=80).print(render_rich(table(), 80))
    assert "81.2 ± 0.9 / 40.0" in out.getvalue()
    assert table_width(table()) == 41


def rows(value: float, model: str, seeds: int = 2) -> list[dict]:
    about = {"model": model, "corpus": "c", "split": "test", "protocol": "random", "available": "", "n": 9}
    return [
        about
        | {"run": f"{model}-{s}", "seed": 0, "rate": rate, "effective_rate": rate, "draw": d}
        | {"acc2": value + 0.1 * s - rate / 10, "f1": 0.5, "acc7": 0.4, "mae": 1.0, "corr": 0.1, "new": 1.0}
        for s in range(seeds)
        for rate in (0.0, 0.5)
        for d in range(2)
    ]


def test_the_papers_layout_and_its_average() -> None:
    both = rows(0.6, "a") + rows(0.5, "b")
    found = paper_table(summarise(both), averages(both))
    text = render_markdown(found).splitlines()
    assert text[0] == "| MR | a ACC2 / F1 / ACC7 | b ACC2 / F1 / ACC7 |"
    assert text[-1].startswith("| average | **62.5 ± 7.1** / **50.0 ± 0.0** / **40.0 ± 0.0** | 52.5 ± 7.1 /")


def test_a_system_without_all_settings_has_no_average() -> None:
    both = rows(0.6, "a") + [row for row in rows(0.5, "b") if row["rate"]]
    text = render_markdown(make_table(summarise(both), metrics=["acc2"], averages=averages(both))).splitlines()
    assert text[-1] == "| average | 62.5 ± 7.1 | – |"


def test_averages_of_fixed_subsets_leave_the_complete_one_out() -> None:
    fixed = [
        row | {"protocol": "fixed", "rate": None, "available": name, "acc2": value}
        for name, value in (("x", 0.2), ("y", 0.4), ("x+y", 0.9))
        for row in rows(0, "a", seeds=1)[:1]
    ]
    (found,) = averages(fixed)
    assert (found["available"], found["acc2"]) == ("average, incomplete", pytest.approx(0.3))
