"""Random corpora with what real ones get wrong: one step, one sample, constants, NaN, 1e30, empty splits, no labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Corpus

NAMES = ("language", "vision", "audio", "gaze", "posture", "pulse", "skin")
VALUES = (
    "normal",
    "normal",
    "offset",
    "constant",
    "constant columns",
    "equal columns",
    "integers",
    "tiny",
    "huge",
    "outlier",
    "nan",
    "infinite",
    "largest",
    "heavy tails",
)
LABELS = ("linear", "linear", "noise", "constant", "large", "outlier")
SIZES = {"train": (1, 2, 3, 12, 40, 90), "valid": (1, 2, 8, 40), "test": (0, 1, 2, 9, 9, 30, 30)}
HUGE = 1e30

Random = np.random.Generator


@dataclass(frozen=True)
class Recipe:
    """How a corpus is made.

    Attributes:
        sizes: samples of each split.
        names: of the modalities.
        dims: features of each frame, by modality.
        lengths: longest sequence, by modality.
        values: one of `VALUES`, by modality.
        absent: share of the cells without features.
        nowhere: for some splits the modality that all their samples lack.
        classes: their number; 0 for regression.
        labels: one of `LABELS`.
        unlabelled: share of the samples.
        dialogues: clips of the longest dialogue; 0 for none.
        speakers: whether clips name their speaker.
        padded: whether features are padded arrays with lengths instead of lists.
    """

    sizes: dict[str, int]
    names: tuple[str, ...]
    dims: tuple[int, ...]
    lengths: tuple[int, ...]
    values: tuple[str, ...]
    absent: float
    nowhere: dict[str, int]
    classes: int
    labels: str
    unlabelled: float
    dialogues: int
    speakers: bool
    padded: bool


def random_recipe(rng: Random) -> Recipe:
    """A recipe; about a third of the modalities hold ordinary numbers."""
    count = int(rng.choice([2, 3, 3, 4, 5, 6, 7]))
    names = NAMES[:count] if rng.random() < 0.7 else tuple(map(str, rng.permutation(NAMES)[:count]))
    return Recipe(
        {split: int(rng.choice(sizes)) for split, sizes in SIZES.items()},
        names,
        tuple(int(n) for n in rng.choice([1, 2, 5, 17], count)),
        tuple(int(n) for n in rng.choice([1, 1, 2, 5, 12, 60], count)),
        tuple(map(str, rng.choice(VALUES, count))),
        float(rng.choice([0.0, 0.1, 0.5, 0.8])),
        {split: int(rng.integers(count)) for split in SIZES if rng.random() < 0.15},
        int(rng.choice([0, 0, 2, 3, 7, 20, 50])),
        str(rng.choice(LABELS)),
        float(rng.choice([0.0, 0.0, 0.3, 0.9])),
        int(rng.choice([0, 0, 3, 12])),
        bool(rng.random() < 0.5),
        bool(rng.random() < 0.3),
    )


def make_corpus(recipe: Recipe, rng: Random) -> Corpus:
    """A corpus after a recipe.

    Raises:
        imder.types.ImderError: the library refuses such a corpus.
    """
    weights = [rng.standard_normal(dim) for dim in recipe.dims]
    splits = {name: _split(recipe, name, size, weights, rng) for name, size in recipe.sizes.items()}
    classes = [f"class {i}" for i in range(recipe.classes)] or None
    return Corpus.from_arrays(
        splits, classes=classes, task=None if classes else "regression", name="random", drop_empty=True
    )


def _split(recipe: Recipe, name: str, size: int, weights: list[NDArray[Any]], rng: Random) -> dict[str, Any]:
    present = rng.random((size, len(recipe.names))) >= recipe.absent
    if name in recipe.nowhere:
        present[:, recipe.nowhere[name]] = False
    for row in np.flatnonzero(~present.any(1)):
        present[row, rng.integers(len(recipe.names))] = True
    columns: dict[str, Any] = {"ids": [f"{name} {i}" for i in range(size)]}
    signal = np.zeros(size)
    for k, modality in enumerate(recipe.names):
        lengths = rng.integers(1, recipe.lengths[k] + 1, size) * present[:, k]
        frames = [rng.standard_normal((n, recipe.dims[k])) for n in lengths]
        signal += [float((x @ weights[k]).mean()) if len(x) else 0.0 for x in frames]
        sequences = [_changed(x, recipe.values[k], rng).astype(np.float32) for x in frames]
        if recipe.padded:
            columns[modality] = np.zeros((size, recipe.lengths[k], recipe.dims[k]), np.float32)
            for i, x in enumerate(sequences):
                columns[modality][i, : len(x)] = x
            columns[f"{modality}_lengths"] = lengths
        else:
            columns[modality] = [x if len(x) else None for x in sequences]
    columns["labels"] = _labels(recipe, signal, rng)
    if recipe.dialogues:
        ends = np.cumsum(rng.integers(1, recipe.dialogues + 1, size))
        columns["dialogue"] = [f"{name} {np.searchsorted(ends, i, side='right')}" for i in range(size)]
        columns["position"] = rng.permutation(size)
    if recipe.speakers:
        columns["speaker"] = [str(rng.choice(["ann", "bob", ""])) for _ in range(size)]
    return columns


def _changed(x: NDArray[Any], kind: str, rng: Random) -> NDArray[Any]:
    """Frames ``(T, D)`` of normal numbers, changed as a word of `VALUES` says."""
    hit = rng.random(x.shape) < 0.05
    with np.errstate(over="ignore"):
        return {
            "normal": lambda: x,
            "offset": lambda: x + 1000,
            "constant": lambda: np.full_like(x, 3.0),
            "constant columns": lambda: np.where(np.arange(x.shape[1]) % 2, 7.0, x),
            "equal columns": lambda: np.repeat(x[:, :1], x.shape[1], 1),
            "integers": lambda: np.round(2 * x),
            "tiny": lambda: x * 1e-30,
            "huge": lambda: x * HUGE,
            "outlier": lambda: np.where(rng.random(x.shape) < 0.003, HUGE, x),
            "nan": lambda: np.where(hit, np.nan, x),
            "infinite": lambda: np.where(hit, np.inf * np.sign(x), x),
            "largest": lambda: np.where(hit, np.finfo(np.float32).max * np.sign(x), x),
            "heavy tails": lambda: np.sign(x) * np.exp(8 * np.abs(x)),
        }[kind]()


def _labels(recipe: Recipe, signal: NDArray[Any], rng: Random) -> list[Any]:
    noise = rng.standard_normal(len(signal))
    y = {
        "linear": lambda: signal + 0.3 * noise,
        "noise": lambda: noise,
        "constant": lambda: np.ones_like(noise),
        "large": lambda: 1e6 * (signal + noise),
        "outlier": lambda: np.where(rng.random(len(noise)) < 0.05, HUGE, signal),
    }[recipe.labels]()
    known = rng.random(len(y)) >= recipe.unlabelled
    known[:1] |= rng.random() < 0.95
    if recipe.classes:
        number = np.clip((np.tanh(y / 2) + 1) / 2 * recipe.classes, 0, recipe.classes - 1)
        return [f"class {int(c)}" if k else None for c, k in zip(number, known, strict=True)]
    return [float(v) if k else None for v, k in zip(y, known, strict=True)]
