"""Progress bars for the terminal; the library itself shows nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

TITLES = {
    "stage1": "stage 1: encoders and fusion",
    "score": "stage 2: score networks",
    "recovery": "stage 2: refinement and fusion",
    "joint": "stage 2: all",
}


def bar() -> Progress:
    """A bar with a note and the time left; on standard error, so that tables can be piped."""
    return Progress(
        TextColumn("{task.description:<32}"),
        BarColumn(24),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(file=sys.stderr),
        refresh_per_second=4,
    )


class PhaseBar(L.Callback):
    """One bar for each phase: epochs of at most so many, losses, time left at most."""

    def __init__(self, label: str = "") -> None:
        self._label = label
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Open the bar."""
        if not trainer.is_global_zero:
            return
        self._progress = bar()
        self._progress.start()
        title = f"{self._label}{TITLES.get(pl_module.phase, pl_module.phase)}"
        self._task = self._progress.add_task(title, total=trainer.max_epochs, note="", completed=trainer.current_epoch)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """A fraction of an epoch."""
        if self._progress is not None and trainer.num_training_batches:
            done = trainer.current_epoch + (batch_idx + 1) / float(trainer.num_training_batches)
            self._progress.update(self._task, completed=done)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Losses so far."""
        if self._progress is not None:
            seen = {k: v for k, v in trainer.callback_metrics.items() if k in ("train/task", "valid")}
            note = "  ".join(f"{k.replace('/', ' ')} {float(v):.3f}" for k, v in seen.items())
            self._progress.update(self._task, note=f"epoch {trainer.current_epoch + 1}  {note}")

    def on_fit_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Early stopping is an end too."""
        if self._progress is not None:
            self._progress.update(self._task, completed=trainer.max_epochs)
            self._progress.stop()
            self._progress = None

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Leave the terminal as it was."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


@contextmanager
def counting(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for anything that reports (done, of how many); it appears with the first report, so not above a refusal."""
    progress = bar()
    task = progress.add_task(title, total=None, note="")

    def report(done: int, total: int) -> None:
        progress.start()  # which does nothing where it has started
        progress.update(task, completed=done, total=total)

    try:
        yield report
    finally:
        if progress.live.is_started:
            progress.stop()
