"""The command line in this process, and what it writes."""

import csv

import numpy as np
from safetensors.numpy import load_file

from imder.cli import main

SMALL = [
    *("--model.encoder.width", "8", "--model.encoder.steps", "6", "--model.recovery.network.widths", "[8]"),
    *("--model.recovery.network.heads", "2", "--model.recovery.network.embedding", "8"),
    *("--model.recovery.evaluations", "2", "--model.refinement.channels", "8", "--model.refinement.blocks", "1"),
    *("--model.refinement.reduction", "4", "--model.num_samples", "2", "--model.fusion.hidden", "8"),
    *("--training.stage1.max_epochs", "1", "--training.score.max_epochs", "1", "--training.recovery.max_epochs", "1"),
    *("--engine.accelerator", "cpu"),
]
"""Options of a training of ``fast`` that takes seconds."""


def imder_(*words: object) -> int:
    """Run a command: its exit code."""
    return main([str(word) for word in words])


def rows_of(path):
    """The rows of a CSV, as texts."""
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def weights(run):
    """The tensors of a trained run."""
    return load_file(run / "model.safetensors")


def same(first, second):
    """Whether two runs have the same weights."""
    return first.keys() == second.keys() and all(np.array_equal(first[k], second[k]) for k in first)
