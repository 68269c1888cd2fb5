"""Joblib's backends: the same calls run in processes of this machine or on a Ray or Dask cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Literal

import joblib

from imder.types import ImderError

BackendName = Literal["loky", "ray", "dask"]


@contextmanager
def backend_of(name: BackendName, jobs: int, threads: int, address: str | None) -> Iterator[None]:
    """Joblib's backend, set up for what is run inside, and shut down afterwards if it was started here.

    Args:
        name: ``loky`` (processes on this machine), ``ray`` or ``dask``.
        jobs: how many at once, where nothing runs yet.
        threads: of each (``loky``).
        address: of a running cluster; None to start one here.

    Raises:
        ImderError: an address without a cluster, or a backend that isn't installed.
    """
    if name == "loky":
        if address is not None:
            raise ImderError("--address: loky has no cluster; choose --backend ray or --backend dask")
        with joblib.parallel_config(backend="loky", inner_max_num_threads=threads):
            yield
    elif name == "ray":
        with _ray(jobs, address), joblib.parallel_config(backend="ray"):
            yield
    else:
        with _dask(jobs, threads, address), joblib.parallel_config(backend="dask"):
            yield


@contextmanager
def _ray(jobs: int, address: str | None) -> Iterator[None]:
    ray = _installed("ray")
    _installed("ray.util.joblib").register_ray()
    own = not ray.is_initialized()
    if own:
        here: dict[str, Any] = (
            {"num_cpus": jobs, "include_dashboard": False} if address is None else {"address": address}
        )
        ray.init(log_to_driver=False, **here)
    try:
        yield
    finally:
        if own:
            ray.shutdown()


@contextmanager
def _dask(jobs: int, threads: int, address: str | None) -> Iterator[None]:
    connect = _installed("distributed").Client
    # One task at a time in each process: the seeds of torch belong to a process.
    here: dict[str, Any] = {"n_workers": jobs, "threads_per_worker": 1, "dashboard_address": None}
    with connect(**here) if address is None else connect(address):
        yield


def _installed(module: str) -> Any:
    """An optional package.

    Raises:
        ImderError: it isn't installed.
    """
    extra = {"ray": "ray", "distributed": "dask"}[module.partition(".")[0]]
    try:
        return import_module(module)
    except ImportError as error:
        raise ImderError(f"--backend {extra}: {error}; pip install 'imder[{extra}]'") from None
