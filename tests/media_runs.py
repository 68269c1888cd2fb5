"""Tiny media, stores of them and trained runs, for the tests of predictions from media."""

import pytest

from tiny_media import openface_columns, openface_rows, write_openface

SMALL = [
    *("--model.encoder.width", "8", "--model.encoder.steps", "6", "--model.recovery.network.widths", "[8]"),
    *("--model.recovery.network.heads", "2", "--model.recovery.network.embedding", "8"),
    *("--model.recovery.evaluations", "2", "--model.refinement.channels", "8", "--model.refinement.blocks", "1"),
    *("--model.refinement.reduction", "4", "--model.num_samples", "2", "--model.fusion.hidden", "8"),
    *("--training.stage1.max_epochs", "1", "--training.score.max_epochs", "1", "--training.recovery.max_epochs", "1"),
    *("--model.members", "1", "--model.context.direction", "none", "--engine.accelerator", "cpu"),
]
WORDS = ("what a good day", "a day", "good days", "abc")
FPS = 30


def close(one, other):
    """Whether two predictions say the same: names and texts exactly, numbers but for rounding."""
    assert set(one) == set(other)
    for key, value in one.items():
        try:
            assert float(value) == pytest.approx(float(other[key]), abs=1e-5), key
        except ValueError:
            assert value == other[key], key


def table(path, frames, seed=0, untracked=()):
    """``untracked``: frames in which the face is lost."""
    columns = openface_columns("pose+aus")
    rows = openface_rows(frames, columns, seed=seed)
    rows[list(untracked), columns.index("success")] = 0
    return write_openface(path, rows, columns)
