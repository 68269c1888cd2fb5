"""A corpus: named splits of one `Spec`, and the best constant prediction of a split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.split import Ragged, Split, key_of
from imder.types import ImderError, Modality, Spec, Task

__all__ = [
    "SPLITS",
    "Corpus",
    "Ragged",
    "Split",
    "best_constant",
    "classes_without",
    "constant_baseline",
    "key_of",
    "spec_of",
]

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Corpus:
    """Named splits (any subset of train / valid / test, or one called ``all``) of one spec.

    ``spec.modalities`` holds for each modality the longest length over all splits. ``recipe`` says in plain containers how
    features were made from raw media (`imder.extract.recipe`), and which were standardised by speaker afterwards
    (`imder.data.speaker_norm.KEY`); None where nothing of it is known.
    """

    name: str
    spec: Spec
    splits: Mapping[str, Split]
    recipe: Mapping[str, Any] | None = None

    def __getitem__(self, split: str) -> Split:
        try:
            return self.splits[split]
        except KeyError:
            raise ImderError(
                f"{self.name}: there is no split {split!r}; it has {', '.join(self.splits)} (choose with --split)"
            ) from None


def spec_of(splits: Mapping[str, Split], task: Task, classes: tuple[str, ...] = ()) -> Spec:
    """The `Spec` of some splits: dims, and the longest length of each modality over all of them."""
    first = next(iter(splits.values()))
    return Spec(
        tuple(
            Modality(name, ragged.dim, max(1, *(int(s.features[name].lengths.max(initial=0)) for s in splits.values())))
            for name, ragged in first.features.items()
        ),
        task,
        classes,
    )


def constant_baseline(split: Split, spec: Spec) -> float | list[float] | None:
    """The best constant of a training split: its median label, or the frequency of each class.

    The most frequent class is then the one predicted, and its likelihood is that of the frequencies. None where no
    sample is labelled.
    """
    if split.labels is None:
        return None
    labels = split.labels[split.labels >= 0 if spec.task == "classification" else ~np.isnan(split.labels)]
    if not len(labels):
        return None
    found: list[float] = best_constant(labels, spec).tolist()
    return found if spec.task == "classification" else found[0]


def classes_without(split: Split, spec: Spec) -> tuple[str, ...]:
    """The classes of which a split has no sample; none where it has no labels or they aren't classes."""
    if split.labels is None or spec.task != "classification":
        return ()
    return tuple(name for i, name in enumerate(spec.classes) if not (split.labels == i).any())


def best_constant(labels: NDArray[Any], spec: Spec) -> NDArray[np.float64]:
    """``(O,)`` from at least one known label ``(N,)``: their median, or the frequency of each class.

    >>> spec = Spec((Modality("audio", 1, 1), Modality("vision", 1, 1)), "classification", ("calm", "sad", "angry"))
    >>> best_constant(np.array([0, 2, 2, 2]), spec).tolist()
    [0.25, 0.0, 0.75]
    """
    if spec.task == "classification":
        return np.bincount(labels, minlength=len(spec.classes)) / len(labels)
    return np.median(labels.astype(np.float64), keepdims=True)
