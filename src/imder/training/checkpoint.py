"""The checkpoint of a running phase: written atomically, flushed to disk, and read with every damage as one line.

It is a torch file, read with ``weights_only=True``: nothing in it is executed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import CheckpointIO

from imder.jobs.documents import shorten
from imder.jobs.files import atomic_write
from imder.types import ImderError

_PARTS = {"state_dict": dict, "callbacks": dict, "loops": dict, "optimizer_states": list}


class CheckpointFile(CheckpointIO):
    """Writes and reads the checkpoints of Lightning's `Trainer`."""

    def save_checkpoint(self, checkpoint: Mapping[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            ImderError: it can't be written; an older one of that name is left.
        """
        del storage_options
        with atomic_write(path, durable=True) as part:
            torch.save(checkpoint, part)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        """Read a checkpoint.

        Raises:
            ImderError: it can't be read or holds something else.
        """
        del map_location, weights_only
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # of zipfile, pickle and torch
            raise damaged(path, error) from None
        if not isinstance(content, dict):
            raise damaged(path, "it is no checkpoint")
        for key, kind in _PARTS.items():  # Lightning goes on without a part that is missing
            if not isinstance(content.get(key), kind) or not content[key]:
                raise damaged(path, f"its {key} are missing")
        for name in ("BestWeights", Checkpoint.__name__):
            if not content["callbacks"].get(name):
                raise damaged(path, f"the state of {name} is missing")
        return content

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


def damaged(path: str | Path, reason: str | Exception) -> ImderError:
    """The error for a checkpoint that can't be used."""
    return ImderError(
        f"{path}: damaged, or the checkpoint of another training ({shorten(reason)}); remove it to train this phase again "
        "from its start"
    )


class Checkpoint(L.Callback):
    """Writes the checkpoint of the running phase at the end of epochs, at most once each ``seconds``.

    It must come after `imder.training.callbacks.BestWeights`, whose state it saves.

    Args:
        path: of the checkpoint.
        seconds: shortest time between two of them.
        key: returns a text that checkpoints of no other training have.
    """

    def __init__(self, path: Path, seconds: float, key: Callable[[], str]) -> None:
        self.path = path
        self.seconds = seconds
        self.key = key
        self.earlier = 0.0
        """Seconds that earlier processes spent on the phase, up to the checkpoint that this one continues."""
        self._begun = self._last = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save if the last checkpoint is old enough."""
        now = torch.tensor(time.monotonic() - self._last)
        due = trainer.strategy.broadcast(bool(now >= self.seconds))
        if due and not trainer.should_stop:
            trainer.save_checkpoint(self.path)  # all processes take part in collecting the state; the first writes it
            self._last = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """The key, and the seconds spent on the phase so far."""
        return {"key": self.key(), "spent": self.earlier + time.monotonic() - self._begun}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        if state_dict["key"] != self.key():
            raise ValueError("it was written with other settings, for another phase or on other data")
        self.earlier = float(state_dict["spent"])


class Restored(L.Callback):
    """Notes that a phase has begun, so that errors before belong to its checkpoint. It must be the first callback."""

    def __init__(self) -> None:
        self.done = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Everything in the checkpoint has been taken over."""
        self.done = True


@contextmanager
def restoring(path: Path | None, restored: Restored) -> Iterator[None]:
    """For a block that trains from a checkpoint: errors in taking it over are one line.

    Args:
        path: the checkpoint, if there is one.
        restored: a callback of the training.

    Raises:
        ImderError: the checkpoint is damaged or of another training.
    """
    try:
        yield
    except ImderError:
        raise
    except Exception as error:  # wrong keys, types and shapes end in many kinds
        if path is None or restored.done:
            raise
        raise damaged(path, error) from None
