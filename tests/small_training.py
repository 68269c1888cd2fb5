"""A small configuration of IMDer, callbacks that interrupt training, and comparisons of runs."""

import json
from pathlib import Path

import lightning as L
import torch
from safetensors.torch import load_file

from imder.training.config import EngineConfig, load_config

PHASES = ("stage1", "score", "recovery", "control")
NETWORK = {"widths": [8], "heads": 2, "embedding": 8, "condition_width": 8, "tokens": 2}
TINY = {
    "model": {
        "encoder": {"width": 4, "steps": 6},
        "members": 1,
        "context": {"direction": "none"},
        "recovery": {"evaluations": 2, "network": NETWORK},
        "refinement": {"channels": 8, "blocks": 1, "reduction": 4},
        "fusion": {"hidden": 8},
        "num_samples": 2,
    },
    "training": {
        "stage1": {"max_epochs": 3, "batch_size": 16},
        "score": {"max_epochs": 3, "batch_size": 16, "validate_every": 1, "warmup": 2},
        "recovery": {"max_epochs": 3, "batch_size": 16},
    },
}
CPU = EngineConfig(accelerator="cpu", checkpoint_seconds=0)


def tiny(**more):
    """The small configuration with overrides, ``training__seed=1`` for ``training.seed``."""
    return load_config(overrides=TINY | {key.replace("__", "."): value for key, value in more.items()})


def weights(run):
    return load_file(Path(run) / "model.safetensors")


def assert_same_weights(first, second):
    assert first.keys() == second.keys()
    different = [k for k in first if not torch.equal(first[k], second[k])]
    assert not different


def assert_same_end(first, second):
    """Weights and metrics of two runs agree to the bit."""
    assert_same_weights(weights(first), weights(second))
    assert reached(first) == reached(second)


def reached(run):
    """The contents of metrics.json without times."""
    data = json.loads((Path(run) / "metrics.json").read_text())
    for timed in (data, *data["phases"].values()):
        assert timed.pop("seconds") >= 0
    return data


class Stop(L.Callback):
    """Raises an error at a batch of an epoch, or at the end of a phase."""

    def __init__(self, phase, epoch, batch=1, error=KeyboardInterrupt, at_end=False):
        self.where = (phase, epoch, batch)
        self.error = error
        self.at_end = at_end

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if not self.at_end and (pl_module.phase, trainer.current_epoch, batch_idx) == self.where:
            raise self.error

    def on_fit_end(self, trainer, pl_module):
        if self.at_end and pl_module.phase == self.where[0]:
            raise self.error


class Epochs(L.Callback):
    """Counts the epochs of each phase and records their learning rates."""

    def __init__(self):
        self.count = {}
        self.rates = {}

    def on_train_epoch_start(self, trainer, pl_module):
        self.count[pl_module.phase] = self.count.get(pl_module.phase, 0) + 1
        self.rates.setdefault(pl_module.phase, []).append(trainer.optimizers[0].param_groups[0]["lr"])
