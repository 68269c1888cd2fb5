"""Loggers of a run: Lightning's, by name or as objects. Each phase has its own logger of each name.

``csv`` and ``tensorboard``, the default, write to ``logs/<phase>`` of the run. ``wandb`` and ``mlflow`` need their packages, and
send a run for each phase to the project (experiment) ``imder``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, WandbLogger

from imder.models.base import Phase
from imder.training.csv_log import PhaseCSVLogger
from imder.training.run import RunDirectory
from imder.training.tensorboard_log import PhaseTensorBoardLogger
from imder.types import ImderError

LoggerChoice = Logger | str | Sequence[Logger | str] | bool | None
"""A logger or its name, several of them, ``none`` or False for none; None or True for the default."""

NO_LOGGER = "none"

DEFAULT_LOGGERS = ("csv", "tensorboard")
PROJECT = "imder"


def _wandb(run: RunDirectory, phase: Phase) -> Logger:
    folder = run.logs(phase)
    folder.mkdir(parents=True, exist_ok=True)
    return WandbLogger(name=f"{run.path.name}-{phase}", group=run.path.name, project=PROJECT, save_dir=folder)


def _mlflow(run: RunDirectory, phase: Phase) -> Logger:
    folder = run.logs(phase) / "mlflow"
    return MLFlowLogger(experiment_name=PROJECT, run_name=f"{run.path.name}-{phase}", save_dir=str(folder))


LOGGERS: dict[str, Callable[[RunDirectory, Phase], Logger]] = {
    "csv": lambda run, phase: PhaseCSVLogger(run.logs(phase)),
    "tensorboard": lambda run, phase: PhaseTensorBoardLogger(run.logs(phase)),
    "wandb": _wandb,
    "mlflow": _mlflow,
}
"""Loggers by name: what makes one for a phase of a run. Names other than the defaults are those of packages they need."""


def chosen_loggers(choice: LoggerChoice) -> tuple[Logger | str, ...]:
    """Names and objects of a choice, checked.

    Raises:
        ImderError: an unknown name, a package that isn't installed, an object that is no logger, or ``none`` beside others.

    >>> chosen_loggers(None), chosen_loggers("csv"), chosen_loggers("none")
    (('csv', 'tensorboard'), ('csv',), ())
    """
    if isinstance(choice, bool) or choice is None:
        return () if choice is False else DEFAULT_LOGGERS
    given: Sequence[Any] = [choice] if isinstance(choice, str | Logger) or not isinstance(choice, Sequence) else choice
    if list(given) == [NO_LOGGER]:
        return ()
    for logger in given:
        if not isinstance(logger, str | Logger):
            raise ImderError(f"logger: a Lightning logger or a name is needed, got {type(logger).__name__}")
        if logger == NO_LOGGER:
            raise ImderError(f"logger: {NO_LOGGER!r} stands alone, not beside others")
        if isinstance(logger, str) and logger not in LOGGERS:
            raise ImderError(f"there is no logger {logger!r}; choose from {', '.join(LOGGERS)}, or {NO_LOGGER}")
        if isinstance(logger, str) and logger not in DEFAULT_LOGGERS and find_spec(logger) is None:
            raise ImderError(f"logger {logger}: the package isn't installed; pip install {logger}")
    return tuple(given)


@contextmanager
def phase_loggers(chosen: Sequence[Logger | str], run: RunDirectory, phase: Phase) -> Iterator[list[Logger]]:
    """The loggers of a phase; runs that were opened for it are closed with the block."""
    loggers = [LOGGERS[logger](run, phase) if isinstance(logger, str) else logger for logger in chosen]
    try:
        yield loggers
    finally:
        for name, logger in zip(chosen, loggers, strict=True):
            if name == "wandb" and isinstance(logger, WandbLogger):
                logger.experiment.finish()  # otherwise the next phase would go on in the same run
