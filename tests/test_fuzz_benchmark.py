"""Mutated inputs: a small campaign, and that the campaign notices what it counts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import case
import fuzz
import numpy as np
import pytest
from case import BAD, run_case
from mutations import BYTES
from readers import Reader

from imder.types import ImderError

pytest.importorskip("av")
pytest.importorskip("transformers")

MEMORY = 128 << 20  # the kernel counts resident memory to within tens of MiB where there are many processors


def refuse(path):
    raise ImderError(f"{path}: refused")


class TwoLines(ImderError):
    def __str__(self):
        return "one\ntwo"


def two_lines(path):
    raise TwoLines


def too_large(path):
    return len(np.ones(15 * MEMORY // 8, np.uint8))


def far_too_large(path):
    return np.empty(3 * MEMORY, np.uint8)


def run_program(path):
    subprocess.run([sys.executable, "--version"], check=True)


def write_elsewhere(path):
    (path.parent.parent / f"{os.getpid()}.txt").write_text("")


def leave_marker(path):
    (path.parent / "executed").write_text("")


def crash(path):
    os.kill(os.getpid(), signal.SIGKILL)


CALLS = {
    "read": lambda path: path.read_bytes(),
    "refused": refuse,
    "traceback": lambda path: 1 / 0,
    "traceback, lines": two_lines,
    "execution": run_program,
    "execution, file": write_elsewhere,
    "execution, marker": leave_marker,
    "hang": lambda path: time.sleep(60),
    "memory": too_large,
    "memory, at once": far_too_large,
    "crash": crash,
}


@pytest.mark.parametrize("name", CALLS)
def test_outcomes(name, tmp_path, monkeypatch):
    monkeypatch.setattr(case, "SECONDS", 1 if name == "hang" else 20)
    monkeypatch.setattr(case, "MEMORY", MEMORY)
    monkeypatch.setattr(case.tempfile, "tempdir", str(tmp_path))
    reader = Reader((("a.txt", b"content"),), BYTES, CALLS[name])
    result = run_case(reader, "any", 0, 0, tmp_path / "kept")
    assert result.outcome == name.split(",")[0], result.said
    assert (tmp_path / "kept").exists() == (result.outcome in BAD)


def test_a_case_is_given_by_its_number(tmp_path):
    contents = []

    def note(path):
        (tmp_path / "content").write_bytes(path.read_bytes())

    reader = Reader((("a.txt", bytes(range(256))),), BYTES, note)
    for number in (0, 0, 1):
        run_case(reader, "any", number, 0)
        contents.append((tmp_path / "content").read_bytes())
    assert contents[0] == contents[1] != contents[2]


@pytest.mark.slow
def test_mutated_inputs_are_read_or_refused(tmp_path, monkeypatch, capsys):
    out = tmp_path / "counts.json"
    command = ["fuzz.py", "--cases", "360", "--seed", "1", "--out", str(out), "--keep", str(tmp_path / "kept")]
    monkeypatch.setattr(sys, "argv", command)
    assert fuzz.main() == 0, json.dumps([row["bad"] for row in json.loads(out.read_text())["rows"]], indent=1)
    counts = json.loads(out.read_text())
    assert sum(row["read"] + row["refused"] for row in counts["rows"]) == 360
    assert all(row["read"] for row in counts["rows"])
    table = capsys.readouterr().out
    assert fuzz.main() == 0
    assert capsys.readouterr().out == table  # finished: nothing is run again
    command[4] = "2"
    with pytest.raises(SystemExit, match="another seed"):
        fuzz.main()
    assert Path(out).exists()
