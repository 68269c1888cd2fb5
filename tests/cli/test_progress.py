"""Progress: a bar that keeps what matters at 80 columns, lines where there is no terminal."""

import io
import re
import time

import pytest
from rich.console import Console

import imder.jobs.progress
from command_line import imder_
from imder.jobs.progress import Display, counting


def terminal(width=80):
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None, legacy_windows=False)


def screen(console):
    """The last line that a terminal shows, without control sequences."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    return [line for line in re.split(r"[\r\n]+", text) if line.strip()][-1].rstrip()


@pytest.mark.parametrize("label", ["", "zero-fill "])
def test_at_80_columns_the_bar_keeps_phase_epoch_and_both_losses(label):
    console = terminal()
    display = Display(f"{label}recovery", counts=False, at_most=True, console=console)
    display.update(0, 300, "epoch 1/300")
    display.update(122.5, 300, "epoch 123/300  train 0.412  valid 0.398", left=4000)
    display._bar.refresh()
    line = screen(console)
    display.close()
    assert len(line) <= 80
    assert f"{label}recovery" in line
    assert "epoch 123/300  train 0.412  valid 0.398" in line
    assert "≤ 1:06:40 left" in line
    assert "━" in line


def test_the_bar_of_a_count_has_the_time_left():
    console = terminal()
    with counting("predicting", console=console) as report:
        report(0, 200)
        report(50, 200, "late-fusion-3, imder-0, imder-1, 7 more, and whatever else does not fit on a line", 65)
        time.sleep(0.3)
        line = screen(console)
        assert len(line) <= 80
        assert line.startswith("predicting 50/200")
        assert line.endswith("1:05 left")


def test_nothing_is_shown_before_the_first_report():
    for console in (terminal(), Console(file=io.StringIO())):
        with counting("predicting", console=console):
            pass
        assert console.file.getvalue() == ""


def test_off_a_terminal_a_line_every_so_often_and_one_at_the_end(monkeypatch):
    monkeypatch.setattr(imder.jobs.progress, "LINE_SECONDS", 0.1)
    console = Console(file=io.StringIO())
    with counting("extracting", console=console) as report:
        report(0, 4)
        report(1, 4)
        time.sleep(0.25)
        report(4, 4)
    lines = console.file.getvalue().splitlines()
    assert 2 <= len(lines) <= 4
    assert re.fullmatch(r"extracting: 1/4, 0:00 elapsed, 0:0\d left|extracting: 1/4, 0:00 elapsed", lines[0])
    assert lines[-1] == "extracting: 4/4, 0:00 elapsed"


def test_off_a_terminal_a_line_for_each_cell():
    console = Console(file=io.StringIO())
    with counting("cells", each=True, console=console) as report:
        report(0, 3)
        for done in (1, 1, 2, 3):
            report(done, 3, f"cell {done}", left=60 * (3 - done))
    assert [line.split(", 0:00")[0] for line in console.file.getvalue().splitlines()] == [
        "cells: 1/3  cell 1",
        "cells: 2/3  cell 2",
        "cells: 3/3  cell 3",
    ]


def test_a_failure_leaves_no_last_line():
    console = Console(file=io.StringIO())

    def work():
        with counting("extracting", console=console) as report:
            report(1, 4)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        work()
    assert console.file.getvalue() == ""


def test_training_prints_a_line_for_each_phase(folder, tmp_path, capsys):
    words = ("--preset", "zero-fill", "--max-epochs", 2, "--model.encoder.width", 4)
    assert imder_("train", folder / "corpus", "--out", tmp_path / "run", *words) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert re.fullmatch(r"stage1: epoch 2/2  train \d\.\d{3}  valid \d\.\d{3}, 0:\d\d elapsed", lines[0])
