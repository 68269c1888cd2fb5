"""The kill campaign of `benchmarks/robustness/kills.py`, in small."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent.parent / "benchmarks" / "robustness" / "kills.py"


@pytest.mark.slow
def test_killed_commands_end_like_uninterrupted_ones(tmp_path):
    out = tmp_path / "kills.json"
    subprocess.run([sys.executable, PROGRAM, "--kills", "12", "--seed", "1", "--out", out], check=True, timeout=3600)
    result = json.loads(out.read_text())
    assert sum(trial["kills"] for trial in result["trials"]) == 12
    assert {trial["program"] for trial in result["trials"]} == {"train", "benchmark", "extract", "convert"}
    assert not any(trial["problem"] or trial["outlived"] for trial in result["trials"])
