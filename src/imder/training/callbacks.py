"""What watches a phase: the weights worth keeping, when to stop, and checkpoints that survive being killed.

The best weights (those of the moving average, if there is one) are part of the checkpoint. So the checkpoint alone says how
to go on and what to return, and there is never a second file to disagree with it.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from imder.jobs.files import atomic_write
from imder.training.module import PhaseModule
from imder.types import ImderError


class BestWeights(L.Callback):
    """Averages the weights, keeps the best by ``valid``, stops when nothing improves.

    Attributes:
        best: the least validation loss so far.
        best_epoch: when.
        best_state: weights and buffers of the trained parts then.
    """

    def __init__(self, ema: float, patience: int) -> None:
        self.ema = ema
        self.patience = patience
        self.best = float("inf")
        self.best_epoch = -1
        self.best_state: dict[str, Tensor] = {}
        self.bad = 0
        self._average: dict[str, Tensor] = {}
        self._steps = 0
        self._aside: dict[str, Tensor] = {}

    def _learned(self, module: PhaseModule) -> dict[str, Tensor]:
        return {k: p for k, p in module.model.named_parameters() if p.requires_grad}

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Checkpoints are read to the CPU; the average belongs beside the weights."""
        self._average = {k: v.to(pl_module.device) for k, v in self._average.items()}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *args: Any) -> None:
        """Update the average; its decay is small at first, so that it forgets the beginning."""
        if not self.ema:
            return
        self._steps += 1
        decay = min(self.ema, (1 + self._steps) / (10 + self._steps))
        learned = self._learned(pl_module)
        if not self._average:
            self._average = {k: p.detach().clone() for k, p in learned.items()}
        with torch.no_grad():
            torch._foreach_lerp_(list(self._average.values()), [p.detach() for p in learned.values()], 1 - decay)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Validate the average."""
        if self.ema and self._average:
            learned = self._learned(pl_module)
            self._aside = {k: p.detach().clone() for k, p in learned.items()}
            _copy(self._average, learned)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """OnCell what was validated if it is the best; then go on with the weights themselves."""
        valid = float(trainer.callback_metrics["valid"])
        if not math.isfinite(valid):
            raise ImderError(
                f"phase {pl_module.phase}, epoch {trainer.current_epoch}: the validation loss isn't finite; "
                "the last good checkpoint is kept; try a smaller learning rate"
            )
        if valid < self.best:
            self.best, self.best_epoch, self.bad = valid, trainer.current_epoch, 0
            self.best_state = {k: v.detach().cpu().clone() for k, v in pl_module.model.state_dict().items()}
        else:
            self.bad += 1
        if self._aside:
            _copy(self._aside, self._learned(pl_module))
            self._aside = {}
        if self.patience and self.bad >= self.patience:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Everything, for the checkpoint."""
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_state": self.best_state,
            "bad": self.bad,
            "average": self._average,
            "steps": self._steps,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.best, self.best_epoch, self.bad = state_dict["best"], state_dict["best_epoch"], state_dict["bad"]
        self.best_state = state_dict["best_state"]
        self._average, self._steps = state_dict["average"], state_dict["steps"]


@torch.no_grad()
def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    for name, value in source.items():
        target[name].copy_(value)


class Checkpoint(L.Callback):
    """Writes the running phase's checkpoint at the end of epochs, not more often than told, under its name when complete.

    It must come after `BestWeights`, whose state it saves.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self.path = path
        self.seconds = seconds
        self.earlier = 0.0
        """Seconds that processes before this one spent on the phase, up to the checkpoint that this one goes on from."""
        self._begun = self._last = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save, if it is time."""
        now = torch.tensor(time.monotonic() - self._last)
        due = trainer.strategy.broadcast(bool(now >= self.seconds))
        if due and not trainer.should_stop:
            if trainer.is_global_zero:
                with atomic_write(self.path, durable=True) as part:
                    trainer.save_checkpoint(part)
            else:
                trainer.save_checkpoint(self.path)  # takes part in collecting the state; writes nothing
            self._last = time.monotonic()

    def state_dict(self) -> dict[str, float]:
        """What was spent so far."""
        return {"spent": self.earlier + time.monotonic() - self._begun}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """From the checkpoint."""
        self.earlier = state_dict["spent"]
