"""What an added modality costs: the loss from S to S and one modality more, under the fixed protocol.

A system that uses its modalities well is never worse for having one more. For each pair (S, k) the two predictions are
compared on the samples that have k and anything of S: under S alone, and under S with k. A loss is positive where the
addition makes the metric worse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder import metrics
from imder.evaluation.cells import EvaluationCell
from imder.evaluation.formatting import metric_info, scale_of

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Addition:
    """One modality more.

    Attributes:
        subset: names of the modalities before, joined by ``+``.
        added: the modality.
        n: samples compared.
        losses: for each main metric of the convention ``(B,)``, one for each resample.
    """

    subset: str
    added: str
    n: int
    losses: Mapping[str, Array]


def additions(
    predictions: Mapping[str, NDArray[Any]],
    present: NDArray[np.bool_],
    names: Sequence[str],
    labels: NDArray[Any],
    convention: str,
    weights: Array | None = None,
) -> list[Addition]:
    """Every addition of a modality to a subset, where any sample can be compared.

    Args:
        predictions: for each subset, by name, ``(N,)`` values or ``(N, C)`` probabilities; nan where it isn't served.
        present: ``(N, K)`` bool, what the samples hold.
        names: of the K modalities.
        labels: ``(N,)``.
        convention: of the metrics.
        weights: ``(B, N)``, how often each resample holds each sample; None for the samples themselves (B = 1).

    >>> values = {"a": np.array([0.0, 2.0]), "b": np.array([0.5, 0.5]), "a+b": np.array([1.0, 1.0])}
    >>> everything = np.ones((2, 2), bool)
    >>> for addition in additions(values, everything, ("a", "b"), np.array([0.0, 2.0]), "mosi"):
    ...     print(addition.subset, addition.added, addition.losses["mae"].tolist())
    a b [1.0]
    b a [0.0]
    """
    pairs, columns, counts = [], [], []
    for subset in predictions:
        for larger in predictions:
            added = set(larger.split("+")) - set(subset.split("+"))
            if len(added) != 1 or set(subset.split("+")) - set(larger.split("+")):
                continue
            (name,) = added
            both = np.stack([predictions[subset], predictions[larger]]).astype(np.float64)
            compared = present[:, list(names).index(name)] & ~np.isnan(both).reshape(2, len(present), -1).any((0, 2))
            if compared.any():
                both[:, ~compared] = np.nan
                pairs.append((subset, name))
                columns.append(both)
                counts.append(int(compared.sum()))
    if not pairs:
        return []
    shown = metrics.names_of(convention, "main")
    weights = np.ones((1, len(labels))) if weights is None else weights
    measured = metrics.evaluate_resamples(convention, np.concatenate(columns), labels, weights, shown)
    losses = {m: _sign(m) * (values[:, 1::2] - values[:, ::2]) for m, values in measured.items()}
    return [
        Addition(subset, added, n, {m: values[:, i] for m, values in losses.items()})
        for i, ((subset, added), n) in enumerate(zip(pairs, counts, strict=True))
    ]


def _sign(metric: str) -> int:
    return -1 if metric_info(metric).higher_is_better else 1


def largest(losses: Sequence[Addition], metric: str) -> Addition | None:
    """The addition with the largest loss on the samples themselves; None where it is undefined for all.

    Equal losses count as the first.
    """
    defined = [addition for addition in losses if not np.isnan(addition.losses[metric][0])]
    return max(defined, key=lambda addition: float(addition.losses[metric][0]), default=None)


class FixedPredictions:
    """Keeps the predictions of the fixed protocol's cells: an ``on_cell`` of `imder.evaluation.evaluate.evaluate_model`."""

    def __init__(self) -> None:
        self._by_subset: dict[str, NDArray[Any]] = {}
        self._present = np.zeros((0, 0), bool)
        self._names: list[str] = []

    def __call__(self, cell: EvaluationCell, values: NDArray[Any]) -> None:
        """Keep a cell's predictions, nan for the samples that it doesn't serve."""
        whole = np.full((len(cell.mask), *values.shape[1:]), np.nan)
        whole[cell.mask.any(axis=1)] = values
        self._by_subset[cell.available] = whole
        if len(names := cell.available.split("+")) > len(self._names):
            self._names, self._present = names, cell.mask

    def additions(self, labels: NDArray[Any], convention: str) -> list[Addition]:
        """Every addition of a modality; ``labels`` ``(N,)`` are those of the evaluated samples."""
        return additions(self._by_subset, self._present, self._names, labels, convention)


def largest_loss_line(losses: Sequence[Addition], convention: str) -> str:
    """The largest loss of each main metric in one line; empty where nothing can be compared."""
    parts = []
    for metric in metrics.names_of(convention, "main"):
        if (worst := largest(losses, metric)) is not None:
            scale, digits = scale_of(metric)
            loss = round(scale * float(worst.losses[metric][0]), digits) + 0.0
            unit = " points" if metric_info(metric).share else ""
            parts.append(
                f"{metric_info(metric).label} {loss:+.{digits}f}{unit} ({worst.added} added to {worst.subset}, n = {worst.n})"
            )
    return f"largest loss from adding a modality (above 0 is worse): {'; '.join(parts)}" if parts else ""
