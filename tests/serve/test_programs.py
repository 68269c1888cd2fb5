"""The programs that measure the service, in small."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "options", "last"),
    [
        ("service/load.py", ("--size", "small", "--requests", "200", "--clients", "8"), "0 wrong"),
        ("service/load.py", ("--size", "small", "--requests", "40", "--clips", "10", "--samples", "2"), "0 wrong"),
        ("service/day.py", ("--requests", "2000"), "2000 as expected"),
        ("robustness/hostile_requests.py", ("--requests", "400", "--clients", "24"), "0 bad outcomes, 0 files left"),
    ],
)
def test_a_small_run_ends_well(program, options, last):
    pytest.importorskip("av")
    command = [sys.executable, str(BENCHMARKS / program), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert last in done.stdout
