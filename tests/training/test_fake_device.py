"""Every system trains, resumes, evaluates and predicts on an accelerator, here one of Python (`fake_device`)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imder.models.registry import SYSTEMS

HERE = Path(__file__).parent


def run(folder, *systems):
    """What went wrong for each system, in a process of its own: the device stays registered until that ends."""
    path = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / "fake_device_run.py"), str(folder), *systems],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        timeout=580,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(line) for line in done.stdout.splitlines())


def test_late_fusion(tmp_path):
    assert run(tmp_path, "late-fusion") == {"late-fusion": None}


@pytest.mark.slow
def test_every_system(tmp_path):
    names = [*SYSTEMS, "paper-mosi", "distilled"]
    assert run(tmp_path, *names) == dict.fromkeys(names)
