"""Which samples a metric counts, and how often: each once, or as often as each resample of a bootstrap holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Classes = NDArray[np.int64]


@dataclass(frozen=True)
class SampleWeights:
    """Which of N samples count for each of J columns of predictions, and how often in each of B resamples.

    Attributes:
        served: ``(J, N)`` bool, the samples that have a prediction.
        resamples: ``(B, N)``, how often a resample holds each sample; None to count each sample once.
    """

    served: Mask
    resamples: Array | None = None

    def total(self, values: NDArray[Any]) -> Array:
        """Sums over the served samples of values ``(J, N)``: ``(J,)``, or ``(B, J)`` with resamples."""
        counted = np.where(self.served, values, 0)
        if self.resamples is None:
            return np.asarray(counted.sum(-1), dtype=np.float64)
        return np.asarray(self.resamples @ counted.T)

    def mean(self, values: NDArray[Any], where: Mask | None = None) -> Array:
        """Means over the served samples, of those alone where ``where`` ``(N,)`` holds; nan over none."""
        if where is None:
            return ratio(self.total(values), self.total(self.served))
        return ratio(self.total(values & where if values.dtype == bool else values * where), self.total(where))

    def total_by_group(self, values: NDArray[Any], group: Classes, count: int) -> Array:
        """`total` for each of ``count`` groups, along a last axis; ``group`` ``(J, N)`` numbers them from 0."""
        if self.resamples is None:
            rows = zip(self.served, values, group, strict=True)
            return np.stack([np.bincount(g[s], weights=v[s], minlength=count) for s, v, g in rows])
        return np.stack([self.total(np.where(group == g, values, 0)) for g in range(count)], axis=-1)


def ratio(a: Array, b: Array, empty: float = float("nan")) -> Array:
    """``a / b``, and ``empty`` where b is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(b > 0, a / b, empty)
