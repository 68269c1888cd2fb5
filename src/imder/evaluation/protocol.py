"""The settings of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.split import Split
from imder.evaluation.cells import RATES, EvaluationCell, cells_of, sample_cells
from imder.metrics import metrics_of
from imder.missingness.patterns import pattern_name
from imder.missingness.protocols import Missing, Setting, protocol_named
from imder.types import ImderError


def check_missing(missing: Any) -> str:
    """The name of a protocol given as an object.

    Raises:
        ImderError: it is no object with a `sample` method and the name of a protocol that evaluates.
    """
    name = getattr(missing, "protocol", None)
    if isinstance(missing, type) or not hasattr(missing, "sample") or not isinstance(name, str):
        kind = missing.__name__ if isinstance(missing, type) else type(missing).__name__
        raise ImderError(f"protocol is a name such as 'random', or an object such as RandomMissing(0.3), got {kind}")
    protocol_named(name)
    return name


@dataclass(frozen=True)
class EvaluationProtocol:
    """What an evaluation covers and how it predicts.

    Attributes:
        protocol: a name of `imder.missingness.protocols.PROTOCOLS`: random, fixed, natural, official, independent,
            bursts, label, intensity, frames, mixed.
        rates: missing rates, for a protocol that has them.
        draws: of the masks of each rate.
        seed: of the masks and of the noise in recoveries.
        split: which split of the corpus.
        samples: recoveries for each prediction; None for the preset's number.
        batch_size: samples predicted at once; changes nothing but the time.
        official_batch_size: rows in a batch of the official schedule.
        convention: of the metrics (`imder.metrics.CONVENTIONS`); None for the one that fits the corpus.
        missing: the only setting to evaluate, such as ``RandomMissing(0.3)``, in place of ``rates``; None for all settings
            of the protocol.

    Raises:
        ImderError: an unknown protocol or convention, or a setting out of range.

    >>> EvaluationProtocol("fixed").protocol
    'fixed'
    >>> EvaluationProtocol(draws=0)
    Traceback (most recent call last):
        ...
    imder.types.ImderError: draws must be at least one, got 0
    """

    protocol: str = "random"
    rates: Sequence[float] = RATES
    draws: int = 10
    seed: int = 0
    split: str = "test"
    samples: int | None = None
    batch_size: int = 64
    official_batch_size: int = 32
    convention: str | None = None
    missing: Missing | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.protocol, str):
            raise ImderError(f"protocol is a name such as 'random', got {type(self.protocol).__name__}")
        row = protocol_named(self.protocol)
        given = (self.rates,) if isinstance(self.rates, Real) else self.rates
        if isinstance(given, str) or not all(isinstance(rate, Real) for rate in given):
            raise ImderError(f"rates are numbers in [0, 1], got {self.rates!r}")
        object.__setattr__(self, "rates", tuple(float(rate) for rate in given))
        if row.has_rates and not self.rates:
            raise ImderError(f"{self.protocol} protocol: at least one rate is needed")
        if not isinstance(self.seed, Integral) or self.seed < 0:
            raise ImderError(f"the seed must be an integer and not negative, got {self.seed!r}")
        if not isinstance(self.split, str):
            raise ImderError(f"split is the name of a split, got {type(self.split).__name__}")
        counts = {"draws": self.draws, "batch_size": self.batch_size, "official_batch_size": self.official_batch_size}
        for name, count in (counts | ({} if self.samples is None else {"samples": self.samples})).items():
            if not isinstance(count, Integral) or count < 1:
                raise ImderError(f"{name} must be at least one, got {count!r}")
        if self.convention is not None:
            metrics_of(self.convention)

    def cells(
        self, present: NDArray[np.bool_], names: Sequence[str], split: Split | None = None
    ) -> list[EvaluationCell]:
        """The cells of the evaluation (`sample_cells`).

        Args:
            present: ``(N, K)`` bool, what the split holds.
            names: the K modalities.
            split: the samples, for a protocol that needs more than ``present``.

        Raises:
            ImderError: the protocol is undefined on this split, or doesn't have a rate.
        """
        if self.missing is not None:
            available = getattr(self.missing, "available", None)
            subset = "" if available is None else pattern_name(available, names)
            setting = Setting(self.missing, getattr(self.missing, "rate", None), subset)
            return cells_of([setting], self.protocol, present, self.draws, self.seed, split)
        return sample_cells(
            present,
            names,
            protocol=self.protocol,
            rates=self.rates,
            draws=self.draws,
            seed=self.seed,
            official_batch_size=self.official_batch_size,
            split=split,
        )
