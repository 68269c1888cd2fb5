"""The page itself: untrusted names, figures in it and as files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from imder.evaluation.rendering import Table
from imder.report.content import Content, DataTable, Exhibit, Listing, Passage, Section
from imder.report.page import is_page, render, write_figures, write_page
from imder.report.recorded import without_folders
from imder.report.style import WIDTH, drawing, new_figure
from report.page_parts import assert_self_contained

HOSTILE = "<script>alert('1')</script> $\\frac{ </svg> \" onload=\"x"


def content(words: str) -> Content:
    with drawing():
        figure = new_figure(1.5)
        axes = figure.subplots()
        axes.plot([0, 1], [1, 0], label=words)
        axes.set_title(words)
        axes.legend()
    table = Table(words, (words, "b"), (((words, False), ("1.5", True)),), notes=(words,))
    section = Section(
        "A section",
        (words,),
        ((words, words),),
        (Exhibit("a-figure", words, words, figure),),
        (Passage(words, words),),
        (DataTable(words, table),),
        (Listing(words, words),),
    )
    return Content(
        words, (words,), (section, replace(section, title="Another", exhibits=(Exhibit("b", words, "", figure),)))
    )


def test_hostile_names_stay_text() -> None:
    page = assert_self_contained(render(content(HOSTILE)))
    assert page.text.count("alert('1')") > 20
    assert not any("onload" in attributes for _, attributes in page.elements)
    assert page.count("svg") == 2


def test_names_in_any_script() -> None:
    page = assert_self_contained(render(content("喜び 😀 عربي")))
    assert page.text.count("喜び") > 20


def test_figures_follow_the_page_and_files_have_their_own_colours(tmp_path: Path) -> None:
    made = content("a metric")
    text = render(made)
    assert "currentColor" in text
    assert "var(--c0)" not in text.partition("</style>")[0]
    names = write_figures(made, tmp_path / "figures")
    assert names == ["a-figure.svg", "a-figure.pdf", "b.svg", "b.pdf"]
    svg, pdf = ((tmp_path / "figures" / name).read_bytes() for name in names[:2])
    assert b"currentColor" not in svg
    assert b"<text" not in svg
    assert f'width="{72 * WIDTH:g}pt"'.encode() in svg
    assert b"/Type0" in pdf or b"/FontFile2" in pdf
    assert b"/Type3" not in pdf


def test_an_earlier_report_is_recognised(tmp_path: Path) -> None:
    write_page(content("x"), tmp_path / "report.html")
    (tmp_path / "other.html").write_text("<!DOCTYPE html><p>mine</p>")
    assert is_page(tmp_path / "report.html")
    assert not is_page(tmp_path / "other.html")


@pytest.mark.parametrize("command", ["imder 'unbalanced", ""])
def test_commands_that_are_none(command: str) -> None:
    assert without_folders(command) == command
