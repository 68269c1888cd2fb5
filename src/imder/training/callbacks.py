"""The best weights of a phase, and early stopping.

The best weights (of the moving average, if there is one) are part of the checkpoint. The checkpoint alone thus decides how a
phase goes on and what it returns; no second file can disagree with it.
"""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import torch
from torch import Tensor

from imder.training.module import PhaseModule
from imder.types import ImderError


class BestWeights(L.Callback):
    """Averages the weights, keeps the best by ``valid``, stops when nothing improves.

    Attributes:
        best: the lowest validation loss so far.
        best_epoch: its epoch.
        best_state: weights and buffers of the model at that epoch.
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
        self._backup: dict[str, Tensor] = {}

    def _trained_parameters(self, module: PhaseModule) -> dict[str, Tensor]:
        return {k: p for k, p in module.model.named_parameters() if p.requires_grad}

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Raise `ValueError` where the weights of a checkpoint don't fit the model."""
        state = pl_module.model.state_dict()
        shapes = {name: value.shape for name, value in state.items()}
        if (self.best_state or self.best < math.inf) and {
            name: value.shape for name, value in self.best_state.items()
        } != shapes:
            raise ValueError("the best weights are those of another model")
        if self._average and {name: value.shape for name, value in self._average.items()} != {
            name: value.shape for name, value in self._trained_parameters(pl_module).items()
        }:
            raise ValueError("the average of the weights is that of another model")

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Move the average, which a checkpoint has on the CPU, to the device of the weights."""
        self._average = {k: v.to(pl_module.device) for k, v in self._average.items()}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *args: Any) -> None:
        """Update the average; its decay is small at first, so that it forgets the initial weights."""
        if not self.ema:
            return
        self._steps += 1
        decay = min(self.ema, (1 + self._steps) / (10 + self._steps))
        parameters = self._trained_parameters(pl_module)
        if not self._average:
            self._average = {k: p.detach().clone() for k, p in parameters.items()}
        with torch.no_grad():
            torch._foreach_lerp_(list(self._average.values()), [p.detach() for p in parameters.values()], 1 - decay)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Put the average in the place of the weights for validation."""
        if self.ema and self._average:
            parameters = self._trained_parameters(pl_module)
            self._backup = {k: p.detach().clone() for k, p in parameters.items()}
            _copy(self._average, parameters)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Keep the validated weights if they are the best; then restore the weights that are trained."""
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
        if self._backup:
            _copy(self._backup, self._trained_parameters(pl_module))
            self._backup = {}
        if self.patience and self.bad >= self.patience:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """State for the checkpoint."""
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_state": self.best_state,
            "bad": self.bad,
            "average": self._average,
            "steps": self._steps,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.best, self.best_epoch = float(state_dict["best"]), int(state_dict["best_epoch"])
        self.bad, self._steps = int(state_dict["bad"]), int(state_dict["steps"])
        self.best_state, self._average = _tensors(state_dict["best_state"]), _tensors(state_dict["average"])


def _tensors(state: dict[str, Any]) -> dict[str, Tensor]:
    if not all(isinstance(value, Tensor) for value in state.values()):
        raise TypeError("weights that are no tensors")
    return state


@torch.no_grad()
def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    for name, value in source.items():
        target[name].copy_(value)
