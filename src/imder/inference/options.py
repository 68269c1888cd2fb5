"""The settings that every prediction function passes on."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real

from imder.calibration.conformal import check_level
from imder.calibration.describe import LEVEL
from imder.types import ImderError


@dataclass(frozen=True)
class PredictOptions:
    """How to predict.

    Attributes:
        samples: recoveries averaged in each prediction; None for the preset's number.
        seed: of the noise in recoveries, and of random masks.
        batch_size: samples predicted at once; affects time and memory alone.
        level: share of labels that intervals and prediction sets should cover, in (0, 1).

    Raises:
        ImderError: a setting has the wrong type or is out of range.

    >>> PredictOptions(samples=8, level=0.8)
    PredictOptions(samples=8, seed=0, batch_size=64, level=0.8)
    """

    samples: int | None = None
    seed: int = 0
    batch_size: int = 64
    level: float = LEVEL

    def __post_init__(self) -> None:
        wanted = {"seed": self.seed, "batch_size": self.batch_size}
        for name, value in (wanted if self.samples is None else {"samples": self.samples} | wanted).items():
            if not isinstance(value, Integral) or isinstance(value, bool):
                raise ImderError(f"{name}: an integer is needed, got {value!r}")
        if self.samples is not None and self.samples < 1:
            raise ImderError(f"samples: at least one recovery is needed, got {self.samples}")
        if self.seed < 0:
            raise ImderError(f"seed: must not be negative, got {self.seed}")
        if self.batch_size < 1:
            raise ImderError(f"batch_size: at least 1 is needed, got {self.batch_size}")
        if not isinstance(self.level, Real):
            raise ImderError(f"level: a number between 0 and 1 is needed, got {self.level!r}")
        check_level(float(self.level))
