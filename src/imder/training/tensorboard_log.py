"""Lightning's TensorBoard logger, writing in the thread that logs.

TensorBoard's own writer has a thread. On a full disk that thread prints a traceback, and the error reaches the training later,
without the name of a file.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import TensorBoardLogger

from imder.jobs.files import written_to
from imder.types import ImderError

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

NAME = "tensorboard"


class PhaseTensorBoardLogger(TensorBoardLogger):
    """Writes ``tensorboard/events...`` in the logs of a phase; a training that goes on adds a file."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder, name="", version=NAME)

    @property
    def log_dir(self) -> str:
        """The folder as given: the inherited property replaces ``$NAME`` and ``~`` in it."""
        return os.path.join(self.save_dir, NAME)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer (`torch.utils.tensorboard.SummaryWriter`)."""
        if self._experiment is None:
            from torch.utils.tensorboard import FileWriter, SummaryWriter

            class _FileWriter(FileWriter):
                def __init__(self, folder: str) -> None:
                    self.event_writer = _EventFile(folder)

            class _Writer(SummaryWriter):
                def _get_file_writer(self) -> Any:
                    if self.all_writers is None or self.file_writer is None:
                        file = _FileWriter(self.log_dir)
                        vars(self).update(file_writer=file, all_writers={self.log_dir: file})  # typed as None alone
                    return self.file_writer

            self._experiment = _Writer(self.log_dir)
        return self._experiment

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write metrics.

        Raises:
            ImderError: they can't be written.
        """
        try:
            super().log_metrics(metrics, step)
        except ValueError as error:  # Lightning makes one of every error
            if isinstance(error.__cause__, ImderError):
                raise error.__cause__ from None
            raise

    def save(self) -> None:
        """Write hyperparameters, where a caller's callback logged some."""
        if self.hparams:
            super().save()


class _EventFile:
    """Writes events to a file when they are added; what TensorBoard calls an event writer.

    Raises:
        ImderError: the file can't be written, or not to its end.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.reopen()

    def reopen(self) -> None:
        """Begin another file."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        stem = f"events.out.tfevents.{time.time_ns() // 10**9:010d}.{socket.gethostname()}.{os.getpid()}"
        with written_to(self._folder):
            os.makedirs(self._folder, exist_ok=True)
            self._file = self._new(stem)
            self._records = RecordWriter(self._file)
            self.add_event(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def _new(self, stem: str) -> IO[bytes]:
        number = 0
        while True:
            try:
                return open(os.path.join(self._folder, f"{stem}.{number}"), "xb")
            except FileExistsError:
                number += 1

    def get_logdir(self) -> str:
        """The folder."""
        return self._folder

    def add_event(self, event: Event) -> None:
        """Append an event."""
        with written_to(self._file.name):
            self._records.write(event.SerializeToString())
            self._file.flush()

    def flush(self) -> None:
        """Each event is flushed when it is added; nothing is left to write."""

    def close(self) -> None:
        """Close the file."""
        with written_to(self._file.name):
            self._file.close()
