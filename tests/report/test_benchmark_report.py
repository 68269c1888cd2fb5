"""The report of a benchmark, from its folder alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from command_line import imder_, rows_of
from imder.report.benchmark_files import BenchmarkFiles
from imder.report.benchmark_report import benchmark_report
from imder.report.benchmark_settings import settings_section
from imder.report.page import write_page
from report.page_parts import assert_self_contained


def test_it_has_every_setting_of_every_protocol(benchmark: Path, tmp_path: Path) -> None:
    content = benchmark_report(benchmark)
    write_page(content, tmp_path / "a.html")
    page = assert_self_contained((tmp_path / "a.html").read_text())
    titles = [section.title for section in content.sections]
    assert titles[:3] == [
        "Missing rate (random protocol)",
        "Subsets of the modalities (fixed protocol)",
        "Nothing hidden (natural protocol)",
    ]
    names = [exhibit.name for exhibit in content.exhibits()]
    assert {
        "random-mae-over-rate",
        "random-mae",
        "fixed-mae-by-subset",
        "natural-mae-difference",
        "scatter-1-fixed",
    } <= {*names}
    assert page.count("svg") == len(names)
    assert all(exhibit.words.count(".") >= 2 for exhibit in content.exhibits())
    table = next(
        t.table
        for s in content.sections
        for t in s.tables
        if t.table.title == "Differences from late-fusion, fixed protocol"
    )
    compared = {
        (row["model"], row["available"])
        for row in rows_of(benchmark / "significance.csv")
        if row["protocol"] == "fixed"
    }
    assert {(row[0][0], row[1][0]) for row in table.rows} == compared
    facts = dict(content.sections[-2].facts)
    assert facts["missing rates"] == "0, 0.5"
    assert facts["versions"] == "not recorded"
    assert content.summary[1].startswith("Random protocol, average MAE: zero-fill +")


def test_the_command_replaces_nothing_else(benchmark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, figures = tmp_path / "r.html", tmp_path / "figures"
    assert imder_("report", benchmark, "--out", out, "--figures", figures) == 0
    assert "figures as SVG and PDF" in capsys.readouterr().out
    assert len(list(figures.iterdir())) % 2 == 0
    out.write_text("mine")
    assert imder_("report", benchmark, "--out", out) == 2
    assert out.read_text() == "mine"
    assert "holds something else" in capsys.readouterr().err
    (figures / "notes.txt").touch()
    assert imder_("report", benchmark, "--out", tmp_path / "new.html", "--figures", figures) == 2
    assert "notes.txt" in capsys.readouterr().err


def test_unfinished_cells_are_named(benchmark: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(benchmark, copy)
    (copy / "cells" / "zero-fill-any-1.json").unlink()
    assert "zero-fill-any-1 (not run yet)" in settings_section(BenchmarkFiles.read(copy)).words[0]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("significance.csv", "model,metric\na,mae\n", "no column 'difference'"),
        ("significance.csv", "model,metric,difference,low,high,p\na,mae,x,0,1,1\n", "line 2: could not convert"),
        ("results.csv", "", "no column 'model'"),
        ("benchmark.json", "{}", "cannot be read"),
    ],
)
def test_damaged_files_are_one_line(
    benchmark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, message: str
) -> None:
    shutil.copytree(benchmark, tmp_path / "b")
    (tmp_path / "b" / name).write_text(text)
    assert imder_("report", tmp_path / "b", "--out", tmp_path / "a.html") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "a.html").exists()


def test_anything_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert imder_("report", tmp_path, "--out", tmp_path / "a.html") == 2
    assert "is neither a run nor a benchmark" in capsys.readouterr().err
    (tmp_path / "fixed.json").write_text("{}")
    assert imder_("report", tmp_path, "--out", tmp_path / "a.html") == 2
    assert "its tables.md is written for readers" in capsys.readouterr().err
