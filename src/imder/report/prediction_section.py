"""Predictions against labels: scatter of values; confusion and reliability of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder import metrics
from imder.evaluation.formatting import format_value, metric_info
from imder.metrics import names_of
from imder.report.content import Exhibit, Section
from imder.report.prediction_figures import confusion_figure, reliability_figure, scatter_figure


@dataclass(frozen=True)
class Predicted:
    """Predictions of one system under one setting.

    Attributes:
        system: its name.
        setting: in words.
        slug: of the setting, for names of figures.
        values: ``(N,)``, or ``(N, C)`` probabilities.
        labels: ``(N,)``.
    """

    system: str
    setting: str
    slug: str
    values: NDArray[Any]
    labels: NDArray[Any]

    @classmethod
    def of(cls, system: str, setting: str, slug: str, values: NDArray[Any], labels: NDArray[Any]) -> Predicted:
        """Without the samples that aren't served, whose predictions are nan."""
        served = ~np.isnan(values).reshape(len(values), -1).any(1)
        return cls(system, setting, slug, values[served].astype(np.float64), labels[served])


def prediction_section(
    predicted: Sequence[Predicted], convention: str, classes: Sequence[str], words: str, *, dots: bool = True
) -> Section | None:
    """Figures of each of the predictions, with a dot for each sample or without; None where there are none."""
    predicted = [part for part in predicted if len(part.labels)]
    if not predicted:
        return None
    systems = list(dict.fromkeys(part.system for part in predicted))
    exhibits = []
    for number, system in enumerate(systems):
        mine = [part for part in predicted if part.system == system]
        if convention == "classification":
            exhibits.append(
                Exhibit(
                    f"reliability-{number}",
                    f"{system}: reliability",
                    "Predictions are grouped by their top probability, and the share of correct ones is drawn over it; larger "
                    "dots hold more samples. On the diagonal confidence is right; below it the system is overconfident.",
                    reliability_figure({part.setting: (part.values, part.labels) for part in mine}),
                )
            )
        exhibits += [_exhibit(part, number, convention, classes, dots) for part in mine]
    return Section("Predictions", (words,), exhibits=tuple(exhibits))


def _exhibit(part: Predicted, number: int, convention: str, classes: Sequence[str], dots: bool) -> Exhibit:
    measured = metrics.evaluate(convention, part.values, part.labels, names_of(convention, "comparison"))
    values = ", ".join(f"{metric_info(name).label} {format_value(name, value)}" for name, value in measured.items())
    if convention == "classification":
        return Exhibit(
            f"confusion-{number}-{part.slug}",
            f"{part.system}, {part.setting}: confusion",
            f"Rows are labels, columns predictions, in percent of the row; the diagonal is correct. {values}, "
            f"n = {len(part.labels)}.",
            confusion_figure(part.values, part.labels, classes),
        )
    return Exhibit(
        f"scatter-{number}-{part.slug}",
        f"{part.system}, {part.setting}: predictions over labels",
        f"{'Each small dot is a sample' if dots else 'Darker hexagons hold more samples'}; large marks are the median and the "
        "middle half of the predictions in each fifth of the labels. The flatter they run against the diagonal, the more "
        f"predictions shrink to the mean. {values}, n = {len(part.labels)}.",
        scatter_figure(part.values, part.labels, dots),
    )
