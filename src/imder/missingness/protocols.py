"""Which modalities a method may look at: the missing-modality protocols.

A protocol turns what a corpus truly holds, ``present`` bool (N, K), into what a method may look at, ``available`` bool
(N, K), a subset of it. Everything is decided by (present, protocol, rate, seed), never by a model, a batch size or an
order of loading, so that every system of a table sees the same masks:

* `RandomMissing`: with s_i = sum_k available[i, k] and P = sum_{i,k} present[i, k], every sample keeps one of its
  present modalities, chosen uniformly, and exactly min(round(rate P), P - N) of the other P - N cells are dropped,
  uniformly without replacement. On a complete corpus the rate is the papers' MR = 1 - sum_i s_i / (N K), whose cap is
  (K - 1) / K: for K = 3 the papers' "0.7" is 2/3, one modality left in each sample.
* `FixedMissing`: the same subset for every sample; a sample that holds none of it is not served.
* `NaturalMissing`: only what is truly absent is missing.
* `AnySubset`: for each sample a non-empty subset of its present modalities, all 2^p - 1 equally likely: what one model
  that should serve every pattern is trained with.

The released code's per-batch schedule is in `imder.missingness.official_schedule`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike

from imder.missingness.masks import Mask, check_present, check_rate, stream
from imder.types import ImderError


class Missing(Protocol):
    """What every protocol is: a name for the tables, and seeded draws of masks for a whole split."""

    protocol: ClassVar[str]

    def sample(self, present: ArrayLike, seed: int) -> Mask:
        """Draw a mask.

        Args:
            present: ``(N, K)`` bool, what the corpus holds.
            seed: a non-negative integer.

        Returns:
            ``available``, ``(N, K)`` bool, a subset of ``present``. A row without any True isn't served.
        """
        ...


@dataclass(frozen=True)
class RandomMissing:
    """Drop an exact share of the present cells, at least one modality kept in each sample.

    Args:
        rate: share of the *present* cells to drop, in [0, 1]. Where it asks for more than can be dropped, every sample
            is left with exactly one modality.

    Raises:
        ImderError: a rate outside [0, 1].

    >>> present = np.ones((100, 3), dtype=bool)
    >>> from imder.missingness.masks import effective_rate
    >>> available = RandomMissing(0.5).sample(present, seed=0)
    >>> int(available.sum()), int(available.sum(1).min())
    (150, 1)
    >>> round(effective_rate(RandomMissing(0.7).sample(present, seed=0)), 4)
    0.6667
    """

    rate: float
    protocol: ClassVar[str] = "random"

    def __post_init__(self) -> None:
        check_rate(self.rate)

    def sample(self, present: ArrayLike, seed: int) -> Mask:
        """Draw ``available``, ``(N, K)`` bool: exactly min(round(rate P), P - N) of the P present cells are dropped.

        The rounding is Python's (half to even).

        Raises:
            ImderError: ``present`` isn't a bool ``(N, K)`` array, has a row without any True, or the seed is negative.
        """
        present = check_present(present)
        generator = stream("random", seed, self.rate)
        kept = _one_of_each(present, generator)
        available: Mask = present.copy()
        others = np.flatnonzero(present & ~kept)
        count = min(round(self.rate * int(present.sum())), len(others))
        available.reshape(-1)[generator.permutation(others)[:count]] = False
        return available


@dataclass(frozen=True)
class FixedMissing:
    """The same subset of modalities for every sample.

    Args:
        available: K flags in the order of ``Spec.names``, at least one of them True (see `pattern_from_name`).

    Raises:
        ImderError: no modality is available.

    >>> FixedMissing((True, False)).sample([[True, True], [False, True]], seed=0).tolist()
    [[True, False], [False, False]]
    """

    available: tuple[bool, ...]
    protocol: ClassVar[str] = "fixed"

    def __post_init__(self) -> None:
        object.__setattr__(self, "available", tuple(bool(a) for a in self.available))
        if not any(self.available):
            raise ImderError("fixed protocol: at least one modality must be available")

    def sample(self, present: ArrayLike, seed: int = 0) -> Mask:
        """``present`` cut down to the subset, ``(N, K)`` bool; rows that hold none of it are all False (not served).

        Raises:
            ImderError: ``present`` isn't a bool ``(N, K)`` array with this many columns, or has an empty row.
        """
        present = check_present(present)
        if present.shape[1] != len(self.available):
            raise ImderError(
                f"fixed protocol: a subset of {len(self.available)} modalities was given for a corpus "
                f"of {present.shape[1]}"
            )
        available: Mask = present & np.array(self.available, dtype=bool)
        return available


@dataclass(frozen=True)
class NaturalMissing:
    """Only what is truly absent is missing.

    >>> NaturalMissing().sample([[True, False], [True, True]], seed=0).tolist()
    [[True, False], [True, True]]
    """

    protocol: ClassVar[str] = "natural"

    def sample(self, present: ArrayLike, seed: int = 0) -> Mask:
        """A copy of ``present``, ``(N, K)`` bool.

        Raises:
            ImderError: ``present`` isn't a bool ``(N, K)`` array, or has a row without any True.
        """
        return check_present(present).copy()


@dataclass(frozen=True)
class AnySubset:
    """For each sample a non-empty subset of its present modalities, every one equally likely.

    >>> available = AnySubset().sample(np.ones((7000, 3), dtype=bool), seed=0)
    >>> counts = np.unique(available @ [1, 2, 4], return_counts=True)[1]
    >>> len(counts), bool(abs(counts - 1000).max() < 120)
    (7, True)
    """

    protocol: ClassVar[str] = "any"

    def sample(self, present: ArrayLike, seed: int) -> Mask:
        """Draw ``available``, ``(N, K)`` bool.

        Each present modality is kept by a fair coin, and rows left empty are tossed again: given that it is non-empty,
        a subset of p fair coins is uniform over its 2^p - 1 values.

        Raises:
            ImderError: ``present`` isn't a bool ``(N, K)`` array, has a row without any True, or the seed is negative.
        """
        present = check_present(present)
        generator = stream("any", seed)
        available: Mask = np.zeros_like(present)
        while len(rows := np.flatnonzero(~available.any(axis=1))):
            available[rows] = present[rows] & (generator.random((len(rows), present.shape[1])) < 0.5)
        return available


# Of each ten batches, how many lose two modalities and how many lose one, by nominal rate .1 ... .7.


def _one_of_each(present: Mask, generator: np.random.Generator) -> Mask:
    """One present cell of each row, uniformly: the largest of independent uniform scores, ``(N, K)`` bool."""
    scores = np.where(present, generator.random(present.shape), -1.0)
    one: Mask = np.zeros_like(present)
    one[np.arange(len(present)), scores.argmax(axis=1)] = True
    return one
