"""Lightning's CSV logger, which adds to the file of an earlier process instead of deleting it."""

from __future__ import annotations

import csv
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from imder.jobs.files import atomic_write, written_to
from imder.types import ImderError

NAME = "csv"


class PhaseCSVLogger(CSVLogger):
    """Writes ``csv/metrics.csv`` in the logs of a phase.

    A training that goes on writes the epochs that it trains again, and all later ones; earlier rows stay.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder, name="", version=NAME)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer."""
        if self._experiment is None:
            self._experiment = _Writer(self.log_dir)
        return self._experiment


class _Writer(ExperimentWriter):
    def __init__(self, folder: str) -> None:
        with written_to(folder):
            super().__init__(folder)
        self._continued = False

    def _check_log_dir_exists(self) -> None:
        """Keep what is there: the inherited method deletes it."""

    def save(self) -> None:
        """Add the recorded rows to the file.

        Raises:
            ImderError: the file can't be written; it ends with the last whole row.
        """
        if self.metrics and not self._continued:
            self._continued = True
            self._keep(min(int(row.get("epoch", 0)) for row in self.metrics))
        size = os.path.getsize(self.metrics_file_path) if os.path.exists(self.metrics_file_path) else 0
        try:
            with written_to(self.metrics_file_path):
                super().save()
        except ImderError:
            self.metrics = []  # Lightning saves once more before it ends, and half a row may be in the file
            with suppress(OSError):
                os.truncate(self.metrics_file_path, size)
            raise

    def _keep(self, epoch: int) -> None:
        """Keep the file's rows of the epochs before this one."""
        if not os.path.exists(self.metrics_file_path):
            return
        with open(self.metrics_file_path, newline="", encoding="utf-8", errors="replace") as file:
            reader = csv.DictReader(file)
            names = list(reader.fieldnames or [])
            rows = [row for row in reader if _is_whole(row) and int(row["epoch"]) < epoch]
        if not rows:
            os.unlink(self.metrics_file_path)
            return
        self.metrics_keys = names
        self._replace(names, rows)

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        with open(self.metrics_file_path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self._replace(fieldnames, rows)

    def _replace(self, names: list[str], rows: list[dict[str, Any]]) -> None:
        with atomic_write(self.metrics_file_path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=names)
            writer.writeheader()
            writer.writerows(rows)


def _is_whole(row: dict[Any, Any]) -> bool:
    """Whether a row of a file has a value in each column, and an epoch; the last may have been cut."""
    epoch = row.get("epoch")
    return None not in row and None not in row.values() and isinstance(epoch, str) and epoch.isdecimal()
