"""Processes that tests start, and what they leave behind."""

import os
import subprocess
import sys
import time
from pathlib import Path


def dead_process():
    """How temporary files name their process, for one that has ended."""
    code = "from imder.jobs.processes import process_tag; print(process_tag())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def ended_pid():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return process.pid


def wait_as_worker(folder):
    """Write the number of this process as a file's name; then wait."""
    Path(folder, str(os.getpid())).touch()
    time.sleep(60)
