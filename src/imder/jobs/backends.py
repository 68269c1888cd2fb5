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
    """Set up a backend for the block, and shut down afterwards what was started for it.

    Args:
        name: ``loky`` (processes on this machine), ``ray`` or ``dask``.
        jobs: processes at once, where no cluster is running.
        threads: CPU threads of each process (``loky``).
        address: of a running cluster; None to start one on this machine.

    Raises:
        ImderError: an address with ``loky``, or a backend that isn't installed.
    """
    if name == "loky":
        if address is not None:
            raise ImderError("address (--address): loky has no cluster; choose the backend ray or dask (--backend)")
        with joblib.parallel_config(backend="loky", inner_max_num_threads=threads):
            yield
    elif name == "ray":
        with _ray(jobs, address), joblib.parallel_config(backend="ray"):
            yield
    else:
        with _dask(jobs, address), joblib.parallel_config(backend="dask"):
            yield


@contextmanager
def _ray(jobs: int, address: str | None) -> Iterator[None]:
    ray = _optional("ray")
    _optional("ray.util.joblib").register_ray()
    starting = not ray.is_initialized()
    if starting:
        local: dict[str, Any] = {"num_cpus": jobs, "include_dashboard": False}
        ray.init(log_to_driver=False, **(local if address is None else {"address": address}))
    try:
        yield
    finally:
        if starting:
            ray.shutdown()


@contextmanager
def _dask(jobs: int, address: str | None) -> Iterator[None]:
    client = _optional("distributed").Client
    # One task at a time in each process: torch's seeds belong to a process.
    local: dict[str, Any] = {"n_workers": jobs, "threads_per_worker": 1, "dashboard_address": None}
    with client(**local) if address is None else client(address):
        yield


def _optional(module: str) -> Any:
    """Import a module of an optional package.

    Raises:
        ImderError: it isn't installed.
    """
    extra = {"ray": "ray", "distributed": "dask"}[module.partition(".")[0]]
    try:
        return import_module(module)
    except ImportError as error:
        raise ImderError(f"backend (--backend {extra}): {error}; pip install '.[{extra}]'") from None
