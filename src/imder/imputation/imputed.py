"""A split whose missing modalities are filled with draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Corpus, Ragged, Split, spec_of
from imder.data.formats.file_fields import FileFields
from imder.types import ImderError, Spec

LANGUAGE = "language"


@dataclass(frozen=True, repr=False)
class Imputed:
    """N samples and S draws of the modalities that they lack; features that were available are kept once, as they are.

    Iterating gives the S complete splits one after the other. Each keeps ids, labels and all other columns; its ``filled``
    says which samples were filled.

    Attributes:
        given: the split as given, with every modality of the system; what ``filled`` covers isn't used.
        filled: ``(N, K)`` bool, what was drawn: absent, or hidden by ``available``. K in the order of ``names``.
        drawn: for each modality with draws S sequences of its filled samples, in the order of rows.
        draws: S.
        spec: of the corpus given, with every modality of the system.
        name: of the corpus.
        split_name: of the split.
        recipe: of the corpus' features.
        file: how the file given holds the samples, for writing alike.
    """

    given: Split
    filled: NDArray[np.bool_]
    drawn: Mapping[str, tuple[Ragged, ...]]
    draws: int
    spec: Spec
    name: str
    split_name: str
    recipe: Mapping[str, Any] | None = None
    file: FileFields = field(default_factory=FileFields)

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities, in the order of ``filled``."""
        return tuple(self.given.features)

    @property
    def rows(self) -> dict[str, NDArray[np.bool_]]:
        """For each modality with draws which samples ``(N,)`` were filled."""
        return {name: self.filled[:, self.names.index(name)] for name in self.drawn}

    @cached_property
    def complete(self) -> NDArray[np.bool_]:
        """``(N,)`` bool: samples that lacked nothing, equal in every draw."""
        return np.asarray(~self.filled.any(axis=1))

    def __len__(self) -> int:
        return self.draws

    def __iter__(self) -> Iterator[Split]:
        return (self.split(i) for i in range(self.draws))

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {int(n)}" for name, n in zip(self.names, self.filled.sum(axis=0)) if n)
        return (
            f"Imputed({self.split_name!r}: {len(self.given)} samples, {self.draws} draws; filled: {counts or 'none'})"
        )

    def split(self, draw: int) -> Split:
        """The complete split of one draw, from 0 on.

        Raises:
            ImderError: there is no such draw.
        """
        if not 0 <= draw < self.draws:
            raise ImderError(f"there is no draw {draw}: draws are 0 to {self.draws - 1}")
        return self._filled_with({name: sequences[draw] for name, sequences in self.drawn.items()})

    def corpus(self, draw: int) -> Corpus:
        """The complete split of one draw, as a corpus of that split."""
        return self._corpus_of(self.split(draw))

    def mean(self) -> Split:
        """A complete split with the mean over draws in place of each: closest on average, and too narrow.

        A sequence has the mean length of its draws, rounded; a frame is the mean over the draws that have it.
        """
        means = {}
        for name, sequences in self.drawn.items():
            kind = sequences[0].values.dtype
            rows = [_mean([draw[i] for draw in sequences]).astype(kind) for i in range(len(sequences[0]))]
            means[name] = Ragged.from_list(rows, sequences[0].dim)
        return self._filled_with(means)

    def mean_corpus(self) -> Corpus:
        """`mean` as a corpus of that split."""
        return self._corpus_of(self.mean())

    def _corpus_of(self, split: Split) -> Corpus:
        splits = {self.split_name: split}
        return Corpus(self.name, spec_of(splits, self.spec.task, self.spec.classes), splits, self.recipe)

    def _filled_with(self, sequences: Mapping[str, Ragged]) -> Split:
        given, features, marks = self.given, {}, dict(self.given.filled)
        for k, (name, ragged) in enumerate(given.features.items()):
            rows = self.filled[:, k]
            features[name] = _merged(ragged, rows, sequences[name]) if name in sequences else ragged
            if name in sequences:
                marks[name] = rows | marks.get(name, False)
        tokens = given.tokens
        if tokens is not None and LANGUAGE in sequences:
            rows = self.filled[:, self.names.index(LANGUAGE)]
            tokens = _merged(tokens, rows, Ragged(tokens.values[:0], np.zeros(int(rows.sum()) + 1, np.int64)))
        return replace(given, features=features, tokens=tokens, filled=marks)


def _merged(ragged: Ragged, rows: NDArray[np.bool_], other: Ragged) -> Ragged:
    """The sequences with those of ``rows`` (N,) bool replaced, in order, by those of ``other``."""
    lengths = ragged.lengths.copy()
    lengths[rows] = other.lengths
    values = np.empty((int(lengths.sum()), ragged.dim), ragged.values.dtype)
    is_other = np.repeat(rows, lengths)
    values[is_other] = other.values
    own = ragged.values[ragged.offsets[0] : ragged.offsets[-1]]
    values[~is_other] = own[np.repeat(~rows, ragged.lengths)]
    return Ragged(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def _mean(draws: list[NDArray[Any]]) -> NDArray[np.float64]:
    length = max(1, round(float(np.mean([len(x) for x in draws]))))
    total, count = np.zeros((length, draws[0].shape[1])), np.zeros((length, 1))
    for x in draws:
        total[: len(x)] += x[:length]
        count[: len(x)] += 1
    return total / count
