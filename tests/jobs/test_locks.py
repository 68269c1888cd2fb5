"""Locks whose holder was killed, at whatever moment."""

import json
import os
import socket
import threading
import time

import pytest

from imder.jobs.locks import Lock, read_holder
from processes import ended_pid


def of_dead_process(path, token):
    path.write_text(
        json.dumps({"token": token, "host": socket.gethostname(), "pid": ended_pid(), "start": "", "time": time.time()})
    )


@pytest.mark.parametrize("guard", ["dead", "old", "none"])
def test_a_killed_holder_and_a_killed_taker_are_replaced_at_once(guard, tmp_path):
    path, taking = tmp_path / "a.lock", tmp_path / "a.lock.taking"
    of_dead_process(path, "first")
    if guard == "dead":
        of_dead_process(taking, "second")
    if guard == "old":
        taking.write_text("")
        os.utime(taking, (0, 0))
    lock = Lock(path)
    assert lock.acquire()
    assert lock.held()
    assert [p.name for p in tmp_path.iterdir()] == ["a.lock"]


def test_the_guard_of_a_living_taker_stays(tmp_path):
    of_dead_process(tmp_path / "a.lock", "first")
    assert Lock(tmp_path / "a.lock.taking").acquire()
    assert not Lock(tmp_path / "a.lock").acquire()
    assert {p.name for p in tmp_path.iterdir()} == {"a.lock", "a.lock.taking"}


def test_one_of_many_takes_over(tmp_path):
    path = tmp_path / "a.lock"
    for _ in range(20):
        of_dead_process(path, "first")
        of_dead_process(tmp_path / "a.lock.taking", "second")
        locks, taken, start = [Lock(path) for _ in range(8)], [], threading.Barrier(8)

        def take(lock, taken=taken, start=start):
            start.wait()
            if lock.acquire():
                taken.append(lock.token)

        threads = [threading.Thread(target=take, args=(lock,)) for lock in locks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(taken) == 1
        assert read_holder(path).token == taken[0]
        path.unlink()
