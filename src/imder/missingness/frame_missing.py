"""Frame-level missingness: single steps of a sequence are erased, instead of whole modalities or beside them.

Each valid step of each modality is erased with probability r, independently. An erased step of audio, vision or precomputed
language is 0. Token ids become the tokenizer's unknown token *before* the text encoder reads them; the first and the last
token of a text (``[CLS]`` and ``[SEP]``) are kept. Padding is never touched. Under one seed the steps erased at a rate are
among those erased at any higher rate.

As in the published protocols, a method isn't told that a modality is missing: every present modality stays available, even
one all of whose steps are erased, and a sample that has lost everything is predicted from zeros. A modality of a single step
(T = 1) is lost as a whole, with probability r.

* `FrameMissing`, ``frames``: steps alone.
* `MixedMissing`, ``mixed``: whole modalities as `RandomMissing` drops them at the rate r, under the same seed; of the modalities
  that are left, each step with probability r, the same steps as `FrameMissing` erases. Of a complete corpus of K modalities
  about 1 - (1 - min(r, (K - 1) / K)) (1 - r) of all steps are missing.
* `AnyFrames`, `AnyMixed`: training masks of one model for all rates: each sample, or each dialogue for a system with context,
  has a rate of its own, uniform in [0, 1]. `AnyMixed` keeps one modality, and drops each of the other n - 1 present ones with
  probability min(1, r n / (n - 1)).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imder.data.erasure import Erasure
from imder.missingness.masks import Mask, check_mask, check_present, check_rate, stream
from imder.missingness.random_missing import RandomMissing, one_of_each
from imder.types import ImderError


@runtime_checkable
class ErasesFrames(Protocol):
    """A protocol that erases steps, beside its masks of modalities."""

    def erasure(self, present: ArrayLike, seed: int) -> Erasure:
        """The erased steps of N samples, given what they hold ``(N, K)`` bool."""
        ...


@dataclass(frozen=True)
class FrameMissing:
    """Erase steps of all modalities.

    Args:
        rate: the probability that a step is erased, in [0, 1].

    Raises:
        ImderError: a rate outside [0, 1].

    >>> present = np.ones((2, 1), dtype=bool)
    >>> erasure = FrameMissing(0.5).erasure(present, seed=0)
    >>> steps = erasure.steps(0, "audio", np.array([1, 2]), np.array([1000, 10]), 1000)
    >>> bool(0.45 < steps[0].mean() < 0.55), bool(steps[1, 10:].any())
    (True, False)
    """

    rate: float
    protocol: ClassVar[str] = "frames"

    def __post_init__(self) -> None:
        check_rate(self.rate)

    def sample(self, present: ArrayLike, seed: int) -> Mask:
        """``available``, ``(N, K)`` bool: everything present.

        Raises:
            ImderError: ``present`` isn't a bool ``(N, K)`` array with a True in each row, or the seed is negative.
        """
        _check_seed(self.protocol, seed)
        return check_present(present).copy()

    def erasure(self, present: ArrayLike, seed: int) -> Erasure:
        """The erased steps of each sample."""
        return _equal_rates(present, self.rate, seed, self.protocol)


@dataclass(frozen=True)
class MixedMissing:
    """Drop whole modalities, and erase steps of those that are left, both at one rate.

    Args:
        rate: of `RandomMissing` and of `FrameMissing`.

    Raises:
        ImderError: a rate outside [0, 1].
    """

    rate: float
    protocol: ClassVar[str] = "mixed"

    def __post_init__(self) -> None:
        check_rate(self.rate)

    def sample(self, present: ArrayLike, seed: int) -> Mask:
        """``available``, ``(N, K)`` bool, as `RandomMissing` draws it."""
        return RandomMissing(self.rate).sample(present, seed)

    def erasure(self, present: ArrayLike, seed: int) -> Erasure:
        """The erased steps of each sample, as of `FrameMissing`."""
        return _equal_rates(present, self.rate, seed, self.protocol)


@dataclass(frozen=True)
class AnyFrames:
    """Erase steps, at a rate of its own for each sample or dialogue.

    Args:
        dialogue: ``(N,)`` numbers, equal for samples that share a rate; None for a rate for each sample.
    """

    dialogue: NDArray[np.int64] | None = field(default=None)
    protocol: ClassVar[str] = "frames"

    def sample(self, present: ArrayLike, seed: int) -> Mask:
        """``available``, ``(N, K)`` bool: everything present."""
        return FrameMissing(0.0).sample(present, seed)

    def erasure(self, present: ArrayLike, seed: int) -> Erasure:
        """The erased steps of each sample."""
        mask = check_mask("present", present)
        return Erasure.of(self.rates(len(mask), seed), mask.shape[1], seed)

    def rates(self, count: int, seed: int) -> NDArray[np.float64]:
        """The rates of ``count`` samples, uniform in [0, 1)."""
        _check_seed(self.protocol, seed)
        drawn = stream("any frames", seed).random(count)
        if self.dialogue is None:
            return drawn
        if len(self.dialogue) != count:
            raise ImderError(f"masks of {len(self.dialogue)} clips of dialogues were asked for {count} rows")
        _, number = np.unique(self.dialogue, return_inverse=True)
        return drawn[number]


@dataclass(frozen=True)
class AnyMixed(AnyFrames):
    """Drop whole modalities and erase steps, at a rate of its own for each sample or dialogue."""

    protocol: ClassVar[str] = "mixed"

    def sample(self, present: ArrayLike, seed: int) -> Mask:
        """Draw ``available``, ``(N, K)`` bool, at least one modality kept in each row."""
        mask = check_present(present)
        rates = self.rates(len(mask), seed)
        generator = stream("any mixed", seed)
        kept = one_of_each(mask, generator)
        count = mask.sum(1)
        drop = np.minimum(1.0, rates * count / np.maximum(count - 1, 1))
        available: Mask = mask & (kept | (generator.random(mask.shape) >= drop[:, None]))
        return available


def _equal_rates(present: ArrayLike, rate: float, seed: int, protocol: str) -> Erasure:
    _check_seed(protocol, seed)
    mask = check_mask("present", present)
    return Erasure.of(np.full(len(mask), rate), mask.shape[1], seed)


def _check_seed(protocol: str, seed: int) -> None:
    if seed < 0:
        raise ImderError(f"{protocol} protocol: the seed must be a non-negative integer, got {seed}")
