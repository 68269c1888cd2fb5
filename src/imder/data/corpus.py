"""A corpus: splits of samples, each with ragged features for every modality.

Features are stored without padding: all frames of a modality in one ``(frames, D)`` array and ``offsets`` that say
where each sample's frames begin. A modality that a sample lacks has no frames there. The array may be memory-mapped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.types import ImderError, Modality, Spec, Task

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Ragged:
    """Sequences of different lengths: sample i holds ``values[offsets[i]:offsets[i + 1]]``, shape (T_i, D).

    >>> r = Ragged(np.arange(6.0).reshape(3, 2), np.array([0, 2, 2, 3]))
    >>> r[0].shape, r[1].shape, r.lengths.tolist()
    ((2, 2), (0, 2), [2, 0, 1])
    """

    values: NDArray[Any]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> NDArray[Any]:
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    @property
    def dim(self) -> int:
        """Features per frame."""
        return int(self.values.shape[1])

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Frames of each sample, ``(N,)``."""
        return np.diff(self.offsets)

    def take(self, rows: NDArray[np.int64]) -> Ragged:
        """The sequences at ``rows``, copied."""
        parts = [self[int(i)] for i in rows]
        values = np.concatenate(parts) if parts else self.values[:0]
        return Ragged(values, np.concatenate([[0], np.cumsum(self.lengths[rows])]).astype(np.int64))

    @classmethod
    def from_list(cls, sequences: list[NDArray[Any]], dim: int) -> Ragged:
        """From a list of ``(T_i, dim)`` arrays; T_i = 0 marks an absent sequence."""
        lengths = np.array([len(s) for s in sequences], dtype=np.int64)
        values = np.concatenate(sequences) if sequences else np.zeros((0, dim), np.float32)
        return cls(values.reshape(-1, dim), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


@dataclass(frozen=True)
class Split:
    """N samples.

    Attributes:
        ids: N distinct names.
        features: for each modality its `Ragged` sequences, finite everywhere.
        labels: ``(N,)`` float32 (regression; NaN where unlabelled), int64 (classification; -1 where unlabelled), or None.
        texts, dialogue, position, speaker: what the corpus knows beside; None where it does not.
        tokens: of each text the ids of its tokens, ``(T, 1)`` int64, as the field's ``text_bert`` holds them; None where
            the corpus does not know them.
        nonfinite: for each modality, how many values were not finite and became 0.
        dropped: samples without any modality that were left out on request.
    """

    ids: tuple[str, ...]
    features: Mapping[str, Ragged]
    labels: NDArray[Any] | None = None
    texts: tuple[str, ...] | None = None
    dialogue: tuple[str, ...] | None = None
    position: NDArray[np.int64] | None = None
    speaker: tuple[str, ...] | None = None
    nonfinite: Mapping[str, int] = field(default_factory=dict)
    dropped: int = 0
    tokens: Ragged | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """``(N, K)`` bool: which modalities each sample holds (those with at least one frame)."""
        return np.stack([r.lengths > 0 for r in self.features.values()], axis=1)

    @cached_property
    def keys(self) -> NDArray[np.int64]:
        """``(N,)`` int64 hashes of the ids; the same sample has the same key in every order and batch."""
        return np.array([key_of(i) for i in self.ids], dtype=np.int64)

    def take(self, rows: NDArray[np.int64]) -> Split:
        """The samples at ``rows``."""

        def pick(values: tuple[str, ...] | None) -> tuple[str, ...] | None:
            return None if values is None else tuple(values[int(i)] for i in rows)

        return replace(
            self,
            ids=tuple(self.ids[int(i)] for i in rows),
            features={k: r.take(rows) for k, r in self.features.items()},
            labels=None if self.labels is None else self.labels[rows],
            texts=pick(self.texts),
            dialogue=pick(self.dialogue),
            position=None if self.position is None else self.position[rows],
            speaker=pick(self.speaker),
            tokens=None if self.tokens is None else self.tokens.take(rows),
        )


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


def key_of(sample_id: str) -> int:
    """A stable signed 64-bit hash of a sample's id."""
    return int.from_bytes(hashlib.blake2b(sample_id.encode(), digest_size=8).digest(), "little", signed=True)


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
