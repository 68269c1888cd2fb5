"""Splits of generated clips: dialogues, uninformative texts and speakers, and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Ragged, Split
from imder.synthetic.affine import Array
from imder.types import ImderError, Task

CLASSES = ("negative", "neutral", "positive")
WORDS = "well so the film was and then they really kind of that scene it you"
Seed = int | Sequence[int]


def generator(seed: Seed, *more: int) -> np.random.Generator:
    """The generator of a seed, and of further numbers.

    Raises:
        ImderError: a seed that is no whole number, or negative.
    """
    numbers = [*(seed if isinstance(seed, Sequence) else [seed]), *more]
    if not all(isinstance(number, int | np.integer) and number >= 0 for number in numbers):
        raise ImderError(f"seed: expected a whole number, at least 0, got {seed!r}")
    return np.random.default_rng(numbers if isinstance(seed, Sequence) or more else numbers[0])


def labels_of(star: Array, task: Task, bounds: tuple[float, float], edges: tuple[float, float]) -> NDArray[Any]:
    """Labels (n,) of y* (n,): clipped to ``bounds``, or the number of the class between ``edges``."""
    return np.searchsorted(edges, star) if task == "classification" else np.clip(star, *bounds).astype(np.float32)


def dialogue_layout(sizes: NDArray[np.int64], n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Dialogue and position (n,) of the first n clips of dialogues of ``sizes`` clips, one after another.

    >>> dialogue_layout(np.array([2, 3]), 4)
    (array([0, 0, 1, 1]), array([0, 1, 0, 1]))
    """
    position = np.concatenate([np.zeros(0, np.int64), *(np.arange(size) for size in sizes)])
    return np.repeat(np.arange(len(sizes)), sizes)[:n], position[:n].astype(np.int64)


def split_of(
    features: Mapping[str, Ragged],
    labels: NDArray[Any],
    sizes: NDArray[np.int64],
    rng: np.random.Generator,
    prefix: str,
) -> Split:
    """A split of n clips in dialogues of ``sizes`` clips (the last may be shorter), with two speakers in each.

    Ids are ``<prefix><dialogue>$_$<position>``; turns and words are drawn at random.
    """
    n = len(labels)
    dialogue, position = dialogue_layout(sizes, n)
    turns, words = rng.choice(["A", "B"], n), rng.choice(WORDS.split(), (n, 8))
    names = [f"{prefix}{d:04d}" for d in dialogue]
    return Split(
        ids=tuple(f"{name}$_${p}" for name, p in zip(names, position, strict=True)),
        features=features,
        labels=labels,
        texts=tuple(" ".join(row) for row in words),
        dialogue=tuple(names),
        position=position,
        speaker=tuple(f"{name}{turn}" for name, turn in zip(names, turns, strict=True)),
    )
