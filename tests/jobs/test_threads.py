"""Threads: as asked for, else ``OMP_NUM_THREADS``, else the default."""

import pytest
import torch

from imder.jobs.threads import limited_threads, omp_threads, set_threads, threads_per_job
from imder.types import ImderError


@pytest.fixture(autouse=True)
def restored():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("value", "threads"), [("3", 3), (" 2 ", 2), ("4,2", 4), ("", 0), ("many", 0), ("-1", 0)])
def test_the_variable_is_read_as_openmp_reads_it(monkeypatch, value, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert omp_threads() == threads


def test_a_number_wins_over_the_variable_and_the_variable_over_the_default(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    set_threads(3)
    assert torch.get_num_threads() == 3
    set_threads(0)
    assert torch.get_num_threads() == 2
    monkeypatch.delenv("OMP_NUM_THREADS")
    set_threads(0)
    assert torch.get_num_threads() == 2  # left alone


def test_each_job_gets_a_share_unless_told_otherwise(monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [threads_per_job(0, jobs) for jobs in (1, 3, 100)] == [8, 2, 1]
    assert threads_per_job(5, 3) == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads_per_job(0, 1) == 1


def test_a_limit_ends_with_its_block():
    torch.set_num_threads(2)
    with limited_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_a_negative_number_is_refused():
    with pytest.raises(ImderError, match="-1 is negative"):
        set_threads(-1)
