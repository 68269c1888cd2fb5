"""Progress of training: the phase, its epoch, and the losses of training and validation."""

from __future__ import annotations

from typing import Any

import lightning as L

from imder.jobs.progress import Display


class PhaseProgress(L.Callback):
    """A `Display` for each phase; ``label`` stands before the phase's name."""

    def __init__(self, label: str = "") -> None:
        self._label = label
        self._display: Display | None = None
        self._losses = ""

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Begin a phase, in the main process."""
        if trainer.is_global_zero:
            self._losses = ""
            self._display = Display(f"{self._label}{pl_module.phase}", counts=False, at_most=True)
            self._update(trainer, trainer.current_epoch)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Advance by a fraction of an epoch."""
        if trainer.num_training_batches:
            self._update(trainer, trainer.current_epoch + (batch_idx + 1) / float(trainer.num_training_batches))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Show the losses of the epoch."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        losses = {"train": training_loss(metrics), "valid": metrics.get("valid")}
        self._losses = "".join(f"  {name} {value:.3f}" for name, value in losses.items() if value is not None)
        self._update(trainer, trainer.current_epoch + 1)

    def on_fit_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """End a phase; early stopping ends it too."""
        if self._display is not None:
            self._display.finish()
            self._display = None

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Leave the terminal as it was."""
        if self._display is not None:
            self._display.close()
            self._display = None

    def _update(self, trainer: L.Trainer, done: float) -> None:
        if self._display is not None and trainer.max_epochs:
            epoch = min(int(done) + 1, trainer.max_epochs)
            self._display.update(done, trainer.max_epochs, f"epoch {epoch}/{trainer.max_epochs}{self._losses}")


def training_loss(metrics: dict[str, float]) -> float | None:
    """The loss that compares with ``valid``: the task's, or the mean of all where a phase has no task.

    >>> training_loss({"train/task": 0.5, "train/score": 2.0, "valid": 0.6})
    0.5
    >>> training_loss({"train/score": 2.0, "valid": 1.0})
    2.0
    """
    losses = [value for name, value in metrics.items() if name.startswith("train/")]
    return metrics.get("train/task", sum(losses) / len(losses) if losses else None)
