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
* `OfficialSchedule`: the released IMDer code's per-batch schedule, to compare with its numbers.
* `AnySubset`: for each sample a non-empty subset of its present modalities, all 2^p - 1 equally likely: what one model
  that should serve every pattern is trained with.

Random streams come from a ``SeedSequence`` keyed by (seed, protocol, rate): two rates or two protocols under the same
seed share nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imder.types import ImderError

Mask = NDArray[np.bool_]


class Missing(Protocol):
    """What every protocol is: a name for the tables, and seeded draws of masks for a whole split."""

    protocol: ClassVar[str]

    def draw(self, present: ArrayLike, seed: int) -> Mask:
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
    >>> available = RandomMissing(0.5).draw(present, seed=0)
    >>> int(available.sum()), int(available.sum(1).min())
    (150, 1)
    >>> round(effective_rate(RandomMissing(0.7).draw(present, seed=0)), 4)
    0.6667
    """

    rate: float
    protocol: ClassVar[str] = "random"

    def __post_init__(self) -> None:
        _check_rate(self.rate)

    def draw(self, present: ArrayLike, seed: int) -> Mask:
        """Draw ``available``, ``(N, K)`` bool: exactly min(round(rate P), P - N) of the P present cells are dropped.

        The rounding is Python's (half to even).

        Raises:
            ImderError: ``present`` isn't a bool ``(N, K)`` array, has a row without any True, or the seed is negative.
        """
        present = _check_present(present)
        generator = _generator("random", seed, self.rate)
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

    >>> FixedMissing((True, False)).draw([[True, True], [False, True]], seed=0).tolist()
    [[True, False], [False, False]]
    """

    available: tuple[bool, ...]
    protocol: ClassVar[str] = "fixed"

    def __post_init__(self) -> None:
        object.__setattr__(self, "available", tuple(bool(a) for a in self.available))
        if not any(self.available):
            raise ImderError("fixed protocol: at least one modality must be available")

    def draw(self, present: ArrayLike, seed: int = 0) -> Mask:
        """``present`` cut down to the subset, ``(N, K)`` bool; rows that hold none of it are all False (not served).

        Raises:
            ImderError: ``present`` isn't a bool ``(N, K)`` array with this many columns, or has an empty row.
        """
        present = _check_present(present)
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

    >>> NaturalMissing().draw([[True, False], [True, True]], seed=0).tolist()
    [[True, False], [True, True]]
    """

    protocol: ClassVar[str] = "natural"

    def draw(self, present: ArrayLike, seed: int = 0) -> Mask:
        """A copy of ``present``, ``(N, K)`` bool.

        Raises:
            ImderError: ``present`` isn't a bool ``(N, K)`` array, or has a row without any True.
        """
        return _check_present(present).copy()


@dataclass(frozen=True)
class AnySubset:
    """For each sample a non-empty subset of its present modalities, every one equally likely.

    >>> available = AnySubset().draw(np.ones((7000, 3), dtype=bool), seed=0)
    >>> counts = np.unique(available @ [1, 2, 4], return_counts=True)[1]
    >>> len(counts), bool(abs(counts - 1000).max() < 120)
    (7, True)
    """

    protocol: ClassVar[str] = "any"

    def draw(self, present: ArrayLike, seed: int) -> Mask:
        """Draw ``available``, ``(N, K)`` bool.

        Each present modality is kept by a fair coin, and rows left empty are tossed again: given that it is non-empty,
        a subset of p fair coins is uniform over its 2^p - 1 values.

        Raises:
            ImderError: ``present`` isn't a bool ``(N, K)`` array, has a row without any True, or the seed is negative.
        """
        present = _check_present(present)
        generator = _generator("any", seed)
        available: Mask = np.zeros_like(present)
        while len(rows := np.flatnonzero(~available.any(axis=1))):
            available[rows] = present[rows] & (generator.random((len(rows), present.shape[1])) < 0.5)
        return available


# Of each ten batches, how many lose two modalities and how many lose one, by nominal rate .1 ... .7.
_LOSE_TWO = (1, 2, 3, 5, 7, 9, 10)
_LOSE_ONE = (1, 2, 3, 2, 1, 0, 0)


@dataclass(frozen=True)
class OfficialSchedule:
    """The released code's schedule: whole batches lose the same modalities, the first batches the most.

    With n = ceil(N / batch_size) batches and D = 10 round(n / 10) (half to even), the first batches lose two modalities
    while (batches so far that lost two) / D < .1 .2 .3 .5 .7 .9 1 for nominal rates .1 ... .7; then one is lost while
    (batches that lost one) / D < .1 .2 .3 .2 .1 0 0; the rest are complete. Which are lost is drawn uniformly once for
    each batch. Batches are those of a shuffled loader: a permutation of the rows drawn from the seed, cut into pieces
    of ``batch_size``, the last one shorter. D = 0 (5 batches or fewer) means that nothing is ever missing, and the
    nominal rate 0 *is* .7 (the same masks), as in that code. What is really missing is not what the nominal rate says:
    `effective_rate` of a 686-sample split in batches of 32 is .093 .187 .280 .373 .466 .560 .622.

    Args:
        rate: nominal rate, one of 0, .1, ..., .7.
        batch_size: rows in a batch of the loader, at least 1.

    Raises:
        ImderError: another rate, or a batch size below 1.

    >>> present = np.ones((686, 3), dtype=bool)
    >>> [round(effective_rate(OfficialSchedule(r / 10, 32).draw(present, seed=0)), 3) for r in (1, 3, 5, 7, 0)]
    [0.093, 0.28, 0.466, 0.622, 0.622]
    """

    rate: float
    batch_size: int
    protocol: ClassVar[str] = "official"

    def __post_init__(self) -> None:
        _check_rate(self.rate)
        if self._tenths > 7 or abs(self.rate * 10 - self._tenths) > 1e-6:
            raise ImderError(f"official protocol: the rate must be one of 0, 0.1, ..., 0.7, got {self.rate}")
        if self.batch_size < 1:
            raise ImderError(f"official protocol: the batch size must be at least 1, got {self.batch_size}")

    @property
    def _tenths(self) -> int:
        return round(self.rate * 10)

    def _stream(self, seed: int) -> np.random.Generator:
        return _generator("official", seed, (self._tenths or 7) / 10)

    def order(self, n: int, seed: int) -> NDArray[np.int64]:
        """``(n,)``: the order in which `draw` takes rows into batches under the same seed."""
        return self._stream(seed).permutation(n)

    def draw(self, present: ArrayLike, seed: int) -> Mask:
        """Draw ``available``, ``(N, 3)`` bool.

        Raises:
            ImderError: ``present`` isn't a bool ``(N, 3)`` array without any False (the schedule is undefined where
                modalities are naturally missing), or the seed is negative.
        """
        present = _check_present(present)
        if present.shape[1] != 3:
            raise ImderError(f"official protocol: defined for three modalities only, the corpus has {present.shape[1]}")
        if not present.all():
            row = int(np.flatnonzero(~present.all(axis=1))[0])
            raise ImderError(
                f"official protocol: undefined where modalities are naturally missing (row {row}); "
                "use the random, fixed or natural protocol"
            )
        level = (self._tenths or 7) - 1
        generator = self._stream(seed)
        order = generator.permutation(len(present))
        batches = -(-len(present) // self.batch_size)
        tens = round(batches / 10)
        lost_two = min(_LOSE_TWO[level] * tens, batches)
        lost_one = min(_LOSE_ONE[level] * tens, batches - lost_two)
        singled = generator.integers(3, size=batches)  # the one kept where two are lost, the one lost where one is
        patterns: Mask = np.ones((batches, 3), dtype=bool)
        patterns[:lost_two] = False
        patterns[np.arange(lost_two), singled[:lost_two]] = True
        one = np.arange(lost_two, lost_two + lost_one)
        patterns[one, singled[one]] = False
        available: Mask = np.empty_like(present)
        available[order] = patterns[np.arange(len(present)) // self.batch_size]
        return available


def effective_rate(available: ArrayLike) -> float:
    """The true overall missing rate 1 - sum_i s_i / (N K), over the N served rows (those with at least one True).

    Cells that are naturally absent count as missing: with half of the cells absent, dropping nothing gives 0.5.

    Args:
        available: ``(N', K)`` bool.

    Returns:
        The rate, in [0, (K - 1) / K]; nan where no row is served.

    Raises:
        ImderError: ``available`` isn't a bool ``(N', K)`` array.

    >>> effective_rate([[True, False], [True, True], [False, False]])
    0.25
    """
    mask = _check_mask("available", available)
    served = mask[mask.any(axis=1)]
    return 1.0 - int(served.sum()) / served.size if served.size else float("nan")


_TAGS = {"random": 1, "official": 2, "any": 3}  # part of every mask ever reported: never renumber


def _generator(protocol: str, seed: int, rate: float = 0.0) -> np.random.Generator:
    """A stream of its own for each (protocol, rate in billionths, seed)."""
    if seed < 0:
        raise ImderError(f"{protocol} protocol: the seed must be a non-negative integer, got {seed}")
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_TAGS[protocol], round(rate * 1e9))))


def _one_of_each(present: Mask, generator: np.random.Generator) -> Mask:
    """One present cell of each row, uniformly: the largest of independent uniform scores, ``(N, K)`` bool."""
    scores = np.where(present, generator.random(present.shape), -1.0)
    one: Mask = np.zeros_like(present)
    one[np.arange(len(present)), scores.argmax(axis=1)] = True
    return one


def _check_rate(rate: float) -> None:
    if not 0.0 <= rate <= 1.0:  # refuses nan too
        raise ImderError(f"a missing rate must lie in [0, 1], got {rate}")


def _check_mask(name: str, mask: ArrayLike) -> Mask:
    array = np.asarray(mask)
    if array.ndim != 2 or array.dtype != np.bool_ or array.shape[1] == 0:
        raise ImderError(f"{name} must be a bool array (N, K), got {array.dtype} {array.shape}")
    return array


def _check_present(present: ArrayLike) -> Mask:
    mask = _check_mask("present", present)
    empty = np.flatnonzero(~mask.any(axis=1))
    if len(empty):
        raise ImderError(f"row {int(empty[0])} holds no modality at all; drop such samples first")
    return mask
