"""Lightning's `Trainer`, one for each phase, on one process or on several.

Several processes mean data parallelism. On one machine Lightning starts the others itself: it runs the same command again
with their ranks in the environment. On several machines the command is started once on each (or by torchrun, SLURM, ...).
Only the first process writes files; the others read them, so all need the same run directory.
"""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DDPStrategy

from imder.jobs.processes import end_with_parent
from imder.training.checkpoint import CheckpointFile
from imder.training.config import EngineConfig
from imder.training.phase_config import PhaseConfig
from imder.training.run import RunDirectory
from imder.types import ImderError


def several(engine: EngineConfig) -> bool:
    """Whether several processes train together (-1 devices: all of the machine)."""
    return engine.devices != 1 or engine.num_nodes > 1


def is_main_process(engine: EngineConfig | None = None) -> bool:
    """Whether this process is the one that writes files.

    Before the process group exists, ranks are read from the environment, set by Lightning or a launcher. A scheduler numbers
    tasks whether or not they train together; its numbers count only if ``engine`` has several processes.
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank() == 0
    given = os.environ
    if "LOCAL_RANK" in given and "RANK" in given:
        return int(given["RANK"]) == 0
    if engine is not None and not several(engine):
        return True
    if engine is not None and "LOCAL_RANK" not in given and "SLURM_PROCID" in given:
        return int(given["SLURM_PROCID"]) == 0
    node = given.get("NODE_RANK", given.get("GROUP_RANK", "0"))
    return int(given.get("LOCAL_RANK", "0")) == 0 and int(node) == 0


def end_with_launcher() -> None:
    """In a process that Lightning or torchrun started, end when the one that started it has ended, even if it was killed."""
    if int(os.environ.get("LOCAL_RANK", "0")) > 0:
        end_with_parent(os.getppid())


def device_of(engine: EngineConfig) -> torch.device:
    """Where a training computes outside of Lightning's loops: on its device, as far as that knows 64-bit numbers."""
    with quiet():
        device = _trainer(engine).strategy.root_device
    return torch.device("cpu") if device.type == "mps" else device


def wait_for_all() -> None:
    """Wait until every process has got here."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()


def check_engine(engine: EngineConfig) -> None:
    """Raise `ImderError` if Lightning rejects the devices or the precision; nothing is written."""
    try:
        with quiet():
            _trainer(engine)
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        raise ImderError(f"engine: {' '.join(str(error).split())}") from None


def trainer_of(
    run: RunDirectory, config: PhaseConfig, engine: EngineConfig, loggers: list[Logger], callbacks: list[L.Callback]
) -> L.Trainer:
    """The `Trainer` of one phase.

    Parameters may be unused on a process whose rows lack nothing, so DDP looks for them. Buffers don't change while a phase
    trains.
    """
    return _trainer(
        engine,
        max_epochs=config.epochs,
        check_val_every_n_epoch=min(config.validate_every, config.epochs),
        gradient_clip_val=config.clip_norm or config.clip_value or None,
        gradient_clip_algorithm="value" if config.clip_value else "norm",
        logger=loggers,
        callbacks=callbacks,
        plugins=[CheckpointFile()],
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        default_root_dir=run.path,
    )


def _trainer(engine: EngineConfig, **options: Any) -> L.Trainer:
    return L.Trainer(
        accelerator=engine.accelerator,
        devices=engine.devices,
        num_nodes=engine.num_nodes,
        precision=engine.precision,
        strategy=DDPStrategy(find_unused_parameters=True, broadcast_buffers=False) if several(engine) else "auto",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"logger": False} | options,
    )


@contextmanager
def interruptible(trainer: L.Trainer) -> Iterator[None]:
    """Let Ctrl-C raise `KeyboardInterrupt`: Lightning would exit, and leave the signal ignored."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's advice and device report; errors are still raised."""
    names = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
    loggers = [logging.getLogger(n) for n in names]
    levels = [x.level for x in loggers]
    for x in loggers:
        x.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning.*")
            yield
    finally:
        for x, level in zip(loggers, levels, strict=True):
            x.setLevel(level)
