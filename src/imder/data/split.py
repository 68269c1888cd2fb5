"""N samples with ragged features, and one of them.

Features are stored without padding: all frames of a modality in one ``(frames, D)`` array, with ``offsets`` that mark
where each sample begins. A sample that lacks a modality has no frames there. The array may be memory-mapped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from imder.types import ImderError, Task

if TYPE_CHECKING:
    from torch import Tensor

SPLITS = ("train", "valid", "test")
LONGEST_TEXT = 60
MOST_MODALITIES = 6


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


class TextEncoder(Protocol):
    """Computes features of language from token ids."""

    @property
    def unknown_token(self) -> int:
        """The id of the unknown token.

        Raises:
            ImderError: there is none.
        """
        ...

    def features_of(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Features ``(B, T, D)`` of padded ids ``(B, T)``, the same as of the corpus' own texts; no gradients."""
        ...


@dataclass(frozen=True)
class WordErasure:
    """How words of a split are erased: their token ids become the unknown token before the encoder reads them.

    Attributes:
        encoder: of the split's token ids.
        ids: the token ids ``(T, 1)`` of each text, step by step those of its features; None where the features of language
            are the ids.
    """

    encoder: TextEncoder
    ids: Ragged | None = None

    def take(self, rows: NDArray[np.int64]) -> WordErasure:
        """That of some rows."""
        return self if self.ids is None else replace(self, ids=self.ids.take(rows))


@dataclass(frozen=True)
class Sample:
    """One sample of a `Split`.

    Attributes:
        id: its name.
        features: for each modality that it has ``(T, D)``; a missing modality has no entry.
        label: a number (regression), the number of a class (classification), or None where it is unlabelled.
        text, dialogue, position, speaker: None where the corpus doesn't know them.
    """

    id: str
    features: Mapping[str, NDArray[Any]]
    label: float | int | None = None
    text: str | None = None
    dialogue: str | None = None
    position: int | None = None
    speaker: str | None = None

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {tuple(x.shape)}" for name, x in self.features.items()) or "no modality"
        others = ("label", "text", "dialogue", "position", "speaker")
        values = {name: getattr(self, name) for name in others if getattr(self, name) is not None}
        about = "".join(f", {name} {_shorten(repr(value))}" for name, value in values.items())
        return f"Sample({self.id!r}: {shapes}{about})"


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 3] + "..."


@dataclass(frozen=True, repr=False)
class Split:
    """N samples. ``split[3]`` is a `Sample`; ``split[:10]``, row numbers or a bool mask ``(N,)`` give another split.

    Attributes:
        ids: N distinct names.
        features: for each modality its `Ragged` sequences, finite everywhere.
        labels: ``(N,)`` float32 (regression; NaN where unlabelled), int64 (classification; -1 where unlabelled), or None.
        texts, dialogue, position, speaker: one entry for each sample; None where the corpus doesn't know them.
        tokens: the token ids of each text, ``(T, 1)`` int64, as the field's ``text_bert`` holds them; None where the corpus
            doesn't know them.
        nonfinite: for each modality, how many values were not finite and became 0.
        dropped: samples without any modality that were left out on request.
        foreign_task: the task of the labels that the corpus has, where ``labels`` is None because a model's task is another.
        unread: remarks on fields of a file that look like labels or features and were not read.
        filled: for each modality that was missing somewhere and was filled by `imder.impute`, in which samples: ``(N,)`` bool.
        words: how words are erased, where a language encoder makes the features of language.
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
    foreign_task: Task | None = None
    unread: tuple[str, ...] = ()
    filled: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    words: WordErasure | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, rows: int) -> Sample: ...

    @overload
    def __getitem__(self, rows: slice | Sequence[int] | NDArray[Any]) -> Split: ...

    def __getitem__(self, rows: int | slice | Sequence[int] | NDArray[Any]) -> Sample | Split:
        if isinstance(rows, Integral):
            row = int(rows)
            if not -len(self) <= row < len(self):
                raise IndexError(
                    f"there is no row {row} in a split of {len(self)} samples: rows are 0 to {len(self) - 1}"
                )
            return self._sample(row % len(self))
        try:
            return self.take(np.arange(len(self))[rows if isinstance(rows, slice) else np.asarray(rows)])
        except IndexError as error:
            raise ImderError(f"a split of {len(self)} samples has no rows {rows!r} ({error})") from None

    def __iter__(self) -> Iterator[Sample]:
        return (self._sample(i) for i in range(len(self)))

    def _sample(self, i: int) -> Sample:
        return Sample(
            id=self.ids[i],
            features={name: ragged[i] for name, ragged in self.features.items() if ragged.lengths[i]},
            label=self.labels[i].item() if self.labels is not None and self.labelled[i] else None,
            text=None if self.texts is None else self.texts[i],
            dialogue=None if self.dialogue is None else self.dialogue[i],
            position=None if self.position is None else int(self.position[i]),
            speaker=None if self.speaker is None else self.speaker[i],
        )

    def __repr__(self) -> str:
        return f"Split({self.summary()})"

    def summary(self) -> str:
        """Size, labels, presence and optional fields, in one line."""
        n = len(self)
        share = {name: f"{100 * np.mean(r.lengths > 0):.0f} %" if n else "0 %" for name, r in self.features.items()}
        shares = ", ".join(f"{name} {text}" for name, text in list(share.items())[:MOST_MODALITIES])
        more = f" and {len(share) - MOST_MODALITIES} more" if len(share) > MOST_MODALITIES else ""
        fields = [
            name for name in ("texts", "dialogue", "position", "speaker", "tokens") if getattr(self, name) is not None
        ]
        filled = ", ".join(f"{name} {int(marks.sum())}" for name, marks in self.filled.items())
        return (
            f"{n} samples, {int(self.labelled.sum())} labelled; present: {shares}{more}"
            + (f"; {', '.join(fields)}" if fields else "")
            + (f"; filled: {filled}" if filled else "")
        )

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """``(N, K)`` bool: which modalities each sample holds (those with at least one frame)."""
        return np.stack([r.lengths > 0 for r in self.features.values()], axis=1)

    @cached_property
    def labelled(self) -> NDArray[np.bool_]:
        """``(N,)`` bool: which samples have a label."""
        if self.labels is None:
            return np.zeros(len(self), dtype=bool)
        return ~np.isnan(self.labels) if self.labels.dtype.kind == "f" else self.labels >= 0

    @cached_property
    def keys(self) -> NDArray[np.int64]:
        """``(N,)`` int64 hashes of the ids; the same sample has the same key in every order and batch."""
        return np.array([key_of(i) for i in self.ids], dtype=np.int64)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Split:
        """The samples at ``rows``: numbers (negative ones count from the end), or a bool mask ``(N,)``.

        Raises:
            IndexError: a number is out of range, or the mask has another length.
        """
        rows = np.arange(len(self))[rows]

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
            filled={name: marks[rows] for name, marks in self.filled.items()},
            words=None if self.words is None else self.words.take(rows),
        )


def key_of(sample_id: str) -> int:
    """A stable signed 64-bit hash of a sample's id."""
    return int.from_bytes(hashlib.blake2b(sample_id.encode(), digest_size=8).digest(), "little", signed=True)


def without_empty(split: Split, where: str, drop: bool) -> Split:
    """The split without the samples that have no modality.

    Raises:
        ImderError: there are such samples and ``drop`` is false.
    """
    nonempty = split.present.any(axis=1)
    if nonempty.all():
        return split
    if not drop:
        sample = split.ids[int(np.argmin(nonempty))]
        raise ImderError(
            f"{where}: {', '.join(split.features)}: sample {sample!r}: it has no modality at all "
            f"({int((~nonempty).sum())} such samples; drop_empty (--drop-empty) leaves them out)"
        )
    return replace(split.take(np.flatnonzero(nonempty)), dropped=split.dropped + int((~nonempty).sum()))


def without(split: Split, others: Split) -> Split:
    """The samples of a split whose ids aren't among those of ``others``.

    >>> without(Split(("a", "b"), {}), Split(("b", "c"), {})).ids
    ('a',)
    """
    ids = set(others.ids)
    return split.take(np.array([i not in ids for i in split.ids], dtype=bool))
