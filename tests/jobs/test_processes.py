"""Processes are known by number and start, and workers end with the process that started them."""

import os
import signal
import subprocess
import sys
import time

import pytest

from imder.jobs.processes import end_with_parent, is_alive, is_gone, process_tag, start_of
from processes import dead_process, ended_pid

PARENT = """
import sys
import joblib
from imder.jobs.backends import WorkerFunction, backend_of
from processes import wait_as_worker

with backend_of("loky", 2, 1, None):
    joblib.Parallel(n_jobs=2, batch_size=1)(
        joblib.delayed(WorkerFunction(wait_as_worker, "loky"))(sys.argv[1]) for _ in range(2)
    )
"""


def test_workers_end_within_five_seconds_of_a_killed_parent(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.path.dirname(os.path.dirname(__file__)), *sys.path])}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], env=environment)
    until = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    workers = [int(path.name) for path in tmp_path.iterdir()]
    assert all(map(is_alive, workers))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    time.sleep(5)
    assert not any(map(is_running, workers))


def is_running(pid):
    """Whether a process lives and isn't a zombie that nobody waits for."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return is_alive(pid)


def test_a_process_of_an_ended_ones_number_is_another():
    assert is_alive(os.getpid(), start_of(os.getpid()))
    assert not is_alive(os.getpid(), "another start")
    assert not is_alive(ended_pid())


def test_tags_tell_ended_processes_from_living_ones_and_from_those_of_other_machines():
    mine, dead = process_tag(), dead_process()
    assert not is_gone(mine)
    assert is_gone(dead)
    assert is_gone(mine[:-8] + "00000000")
    assert not is_gone("00000000" + dead[8:])


@pytest.mark.parametrize("text", ["", "-", "a-b-c", f"{process_tag()[:8]}--1-a", f"{process_tag()[:8]}-٣-a"])
def test_other_texts_are_nobodys_tags(text):
    assert not is_gone(text)


@pytest.mark.parametrize("parent", [None, os.getpid()], ids=["none", "this process"])
def test_the_process_that_asks_and_those_of_clusters_are_not_watched(parent):
    import threading

    before = threading.active_count()
    end_with_parent(parent)
    assert threading.active_count() == before
