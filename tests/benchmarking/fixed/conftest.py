from __future__ import annotations

import numpy as np
import pytest

from imder.data.corpus import Corpus


def small_corpus(seed: int = 0, classes: int = 3, clips: int = 60, task: str = "classification") -> Corpus:
    """Two modalities that share a cause, the audio one a sequence; six speakers in each split."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(2, 4, 5))
    means = rng.normal(size=(classes, 4))

    def split(name: str, count: int) -> dict[str, object]:
        y = rng.integers(classes, size=count)
        cause = means[y] + 0.5 * rng.normal(size=(count, 4))
        face = cause @ mixing[0] + 0.3 * rng.normal(size=(count, 5))
        voice = [(c @ mixing[1])[None] + 0.3 * rng.normal(size=(int(rng.integers(4, 9)), 5)) for c in cause]
        labels = y if task == "classification" else (cause[:, 0] + 0.1 * rng.normal(size=count)).astype(np.float32)
        return {
            "vision": list(face),
            "audio": voice,
            "labels": labels,
            "ids": [f"{name}{i}" for i in range(count)],
            "speaker": [f"{name}{i % 6}" for i in range(count)],
        }

    named = [f"c{i}" for i in range(classes)] if task == "classification" else None
    return Corpus.from_arrays(
        {"train": split("train", 3 * clips), "valid": split("valid", clips), "test": split("test", clips)},
        classes=named,
        name="small",
    )


@pytest.fixture(scope="session")
def classes() -> Corpus:
    return small_corpus()


@pytest.fixture(scope="session")
def values() -> Corpus:
    return small_corpus(task="regression")
