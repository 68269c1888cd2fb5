"""Joblib's backends: the same calls run in processes of this machine or on a Ray or Dask cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Generic, Literal, ParamSpec, TypeVar

import joblib

from imder.jobs.processes import end_with_parent
from imder.types import ImderError

BackendName = Literal["loky", "ray", "dask"]
_P = ParamSpec("_P")
_R = TypeVar("_R")


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


class WorkerFunction(Generic[_P, _R]):
    """A function as a task of a backend: a process that runs it on this machine ends when the one that asked for it does.

    The process watches its parent before anything else of the task is imported.
    """

    def __init__(self, function: Callable[_P, _R], backend: BackendName) -> None:
        self.function = function
        self.parent = os.getpid() if backend == "loky" else None

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call the function."""
        return self.function(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the parent's number before the function, whose module takes seconds to import."""
        return _unpickled, (self.parent,), {"function": self.function, "parent": self.parent}


def _unpickled(parent: int | None) -> WorkerFunction[..., Any]:
    end_with_parent(parent)
    return WorkerFunction.__new__(WorkerFunction)


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
