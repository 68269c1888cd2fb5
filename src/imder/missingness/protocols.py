"""The missing-modality protocols: which modalities a method may look at.

A protocol turns what a corpus holds, ``present`` bool (N, K), into what a method may look at, ``available`` bool (N, K), a
subset of it. A mask depends on (present, protocol, rate, seed) alone, never on a model, a batch size or an order of loading,
so every system of a table is evaluated on the same masks:

* `RandomMissing`: with s_i = sum_k available[i, k] and P = sum_{i,k} present[i, k], every sample keeps one of its
  present modalities, chosen uniformly, and exactly min(round(rate P), P - N) of the other P - N cells are dropped,
  uniformly without replacement. On a complete corpus the rate is the papers' MR = 1 - sum_i s_i / (N K), whose cap is
  (K - 1) / K: for K = 3 the papers' "0.7" is 2/3, one modality left in each sample.
* `FixedMissing`: the same subset for every sample; a sample that holds none of it is not served.
* `NaturalMissing`: only what the corpus lacks is missing.
* `AnySubset`: for each sample a non-empty subset of its present modalities, all 2^p - 1 equally likely; the training masks
  of a model that serves every pattern.
* `OfficialSchedule`: the schedule of the released IMDer code, by batch.
* `IndependentMissing`: every modality drops out independently, with a rate of its own.
* `BurstMissing`: a modality is gone for several neighbouring clips of a dialogue.
* `FrameMissing`, `MixedMissing`: single steps of a sequence are erased, alone or beside whole modalities.
* `LabelMissing`, `IntensityMissing`: not at random; drops depend on the label, or on the modality itself.

To add a protocol, write a class with the method of `Missing` (and of `MissingOfSplit`, if masks need more than ``present``)
and add its row to `PROTOCOLS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imder.data.split import Split
from imder.missingness.any_subset import AnySubset
from imder.missingness.burst_missing import BurstMissing
from imder.missingness.fixed_missing import FixedMissing
from imder.missingness.frame_missing import AnyFrames, AnyMixed, ErasesFrames, FrameMissing, MixedMissing
from imder.missingness.independent_missing import IndependentMissing
from imder.missingness.masks import Mask
from imder.missingness.natural_missing import NaturalMissing
from imder.missingness.not_at_random import IntensityMissing, LabelMissing
from imder.missingness.official_schedule import OfficialSchedule
from imder.missingness.patterns import pattern_name, patterns
from imder.missingness.random_missing import RandomMissing
from imder.types import ImderError

__all__ = [
    "PROTOCOLS",
    "AnySubset",
    "BurstMissing",
    "ErasesFrames",
    "FixedMissing",
    "FrameMissing",
    "IndependentMissing",
    "IntensityMissing",
    "LabelMissing",
    "Missing",
    "MissingByBatch",
    "MissingOfSplit",
    "MissingProtocol",
    "MixedMissing",
    "NaturalMissing",
    "OfficialSchedule",
    "RandomMissing",
    "Setting",
    "evaluation_protocols",
    "frame_protocols",
    "protocol_named",
    "training_protocols",
]


@runtime_checkable
class Missing(Protocol):
    """The interface of a protocol: its name, and seeded masks for a whole split."""

    protocol: ClassVar[str]

    def sample(self, present: ArrayLike, seed: int) -> Mask:
        """Draw the masks.

        Args:
            present: ``(N, K)`` bool, what the corpus holds.
            seed: a non-negative integer.

        Returns:
            ``available``, ``(N, K)`` bool, a subset of ``present``. A row without any True isn't served.
        """
        ...


@runtime_checkable
class MissingByBatch(Missing, Protocol):
    """A protocol whose patterns belong to whole batches: training takes the rows in its order."""

    def order(self, n: int, seed: int) -> NDArray[np.int64]:
        """``(n,)``: the order in which `sample` takes rows into batches under the same seed."""
        ...


@runtime_checkable
class MissingOfSplit(Missing, Protocol):
    """A protocol whose masks depend on more of the samples than ``present``: their order, labels or features."""

    def bind(self, split: Split) -> Missing:
        """The protocol for a split."""
        ...


def bound(missing: Missing, split: Split | None) -> Missing:
    """The protocol for a split, if its masks depend on more than ``present`` and the split is given."""
    return missing.bind(split) if split is not None and isinstance(missing, MissingOfSplit) else missing


@dataclass(frozen=True)
class Setting:
    """One row of a table of results: a protocol with its rate or its subset.

    Attributes:
        missing: draws the masks.
        rate: the missing rate; None where the protocol has none.
        available: names of the fixed subset, joined by ``+``; empty for other protocols.
    """

    missing: Missing
    rate: float | None = None
    available: str = ""


Settings = Callable[[Sequence[str], Sequence[float], int], list[Setting]]
"""From names of modalities, rates, and the batch size of the official schedule to the settings of an evaluation."""
TrainingMasks = Callable[[float, int], Missing]
"""From a rate and a batch size to the protocol that draws training masks."""
AnyRateMasks = Callable[[NDArray[np.int64] | None], Missing]
"""From the dialogues of the samples ``(N,)``, or None, to training masks at a rate of its own for each sample or dialogue."""


@dataclass(frozen=True)
class MissingProtocol:
    """How a protocol evaluates and trains.

    Attributes:
        settings: what an evaluation covers; None for masks that serve training alone.
        training: how training draws masks of it; None where it can't.
        has_rates: whether its settings are missing rates.
        repeated: whether several draws of a setting differ.
        capped: whether all rates above (K - 1) / K drop the share (K - 1) / K, so that they are one condition.
        nominal: whether the rate is a name, and the share of modalities that is missing differs from it.
        any_rate: training masks of one model for all rates, for a protocol that erases frames; None for others.
    """

    settings: Settings | None
    training: TrainingMasks | None = None
    has_rates: bool = False
    repeated: bool = False
    capped: bool = False
    nominal: bool = False
    any_rate: AnyRateMasks | None = None


def for_each_rate(make: TrainingMasks) -> Settings:
    """The settings of a protocol with rates: one for each."""

    def settings(names: Sequence[str], rates: Sequence[float], batch_size: int) -> list[Setting]:
        return [Setting(make(rate, batch_size), float(rate)) for rate in rates]

    return settings


def _for_each_subset(names: Sequence[str], rates: Sequence[float], batch_size: int) -> list[Setting]:
    subsets = [(FixedMissing(p), pattern_name(p, names)) for p in patterns(len(names))]
    return [Setting(missing, available=name) for missing, name in subsets]


def _as_present(names: Sequence[str], rates: Sequence[float], batch_size: int) -> list[Setting]:
    return [Setting(NaturalMissing())]


def _random(rate: float, batch_size: int) -> Missing:
    return RandomMissing(rate)


PROTOCOLS: dict[str, MissingProtocol] = {
    "random": MissingProtocol(for_each_rate(_random), _random, has_rates=True, repeated=True, capped=True),
    "fixed": MissingProtocol(_for_each_subset),
    "natural": MissingProtocol(_as_present),
    "official": MissingProtocol(
        for_each_rate(OfficialSchedule), OfficialSchedule, has_rates=True, repeated=True, nominal=True
    ),
    "independent": MissingProtocol(
        for_each_rate(lambda rate, _: IndependentMissing(rate)), has_rates=True, repeated=True, nominal=True
    ),
    "bursts": MissingProtocol(
        for_each_rate(lambda rate, _: BurstMissing(rate)), has_rates=True, repeated=True, nominal=True
    ),
    "label": MissingProtocol(
        for_each_rate(lambda rate, _: LabelMissing(rate)), has_rates=True, repeated=True, nominal=True
    ),
    "intensity": MissingProtocol(
        for_each_rate(lambda rate, _: IntensityMissing(rate)), has_rates=True, repeated=True, nominal=True
    ),
    "frames": MissingProtocol(
        for_each_rate(lambda rate, _: FrameMissing(rate)),
        lambda rate, _: FrameMissing(rate),
        has_rates=True,
        repeated=True,
        nominal=True,
        any_rate=AnyFrames,
    ),
    "mixed": MissingProtocol(
        for_each_rate(lambda rate, _: MixedMissing(rate)),
        lambda rate, _: MixedMissing(rate),
        has_rates=True,
        repeated=True,
        nominal=True,
        any_rate=AnyMixed,
    ),
    "any": MissingProtocol(None, lambda rate, batch_size: AnySubset(), repeated=True),
}
"""Every protocol by its name in tables and options; `MissingProtocol` says what a row holds."""


def protocol_named(name: str) -> MissingProtocol:
    """The row of a protocol that evaluates.

    Raises:
        ImderError: there is none of that name.
    """
    if name not in evaluation_protocols():
        raise ImderError(f"unknown protocol {name!r}; use one of {', '.join(evaluation_protocols())}")
    return PROTOCOLS[name]


def evaluation_protocols() -> tuple[str, ...]:
    """The protocols that an evaluation can follow.

    >>> evaluation_protocols()
    ('random', 'fixed', 'natural', 'official', 'independent', 'bursts', 'label', 'intensity', 'frames',
    'mixed')
    """
    return tuple(name for name, protocol in PROTOCOLS.items() if protocol.settings is not None)


def frame_protocols() -> tuple[str, ...]:
    """The protocols that erase frames.

    >>> frame_protocols()
    ('frames', 'mixed')
    """
    return tuple(name for name, protocol in PROTOCOLS.items() if protocol.any_rate is not None)


def training_protocols() -> tuple[str, ...]:
    """The protocols of whole modalities that training can draw masks of.

    >>> training_protocols()
    ('random', 'official', 'any')
    """
    return tuple(
        name for name, protocol in PROTOCOLS.items() if protocol.training is not None and protocol.any_rate is None
    )
