"""Processes that tests start, and what they leave behind."""

import subprocess
import sys


def dead_process():
    """How temporary files name their process, for one that has ended."""
    code = "from imder.jobs.processes import process_tag; print(process_tag())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def ended_pid():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return process.pid
