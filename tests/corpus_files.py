"""Feature files to load: their fields, and how they are saved."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from imder.data.corpus import Split
from imder.data.formats.load import load_corpus

Fields = dict[str, Any]


def fields(n: int = 4, split: str = "train", **more: Any) -> Fields:
    rng = np.random.default_rng(n)
    return {
        "audio": rng.normal(size=(n, 5, 3)).astype(np.float32),
        "text": rng.normal(size=(n, 6, 4)).astype(np.float32),
        "id": [f"{split}{i}" for i in range(n)],
        "regression_labels": np.linspace(-3, 3, n),
        **more,
    }


def save(path: Path, data: Any) -> Path:
    if path.suffix == ".npz":
        path.parent.mkdir(exist_ok=True)
        np.savez(path, **data)
    else:
        path.write_bytes(pickle.dumps(data, 4))
    return path


def one(tmp_path: Path, data: Fields, **options: Any) -> Split:
    """The only split of an unsplit pickle."""
    return load_corpus(save(tmp_path / "one.pkl", data), **options)["all"]


def without(data: Fields, *keys: str) -> Fields:
    return {k: v for k, v in data.items() if k not in keys}


def objects(*items: Any) -> np.ndarray:
    array = np.empty(len(items), object)
    array[:] = [None] * len(items)
    for i, x in enumerate(items):
        array[i] = x
    return array
