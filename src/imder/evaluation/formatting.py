"""How a metric's values are written: labels, percent or decimals, deviations."""

from __future__ import annotations

import math

from imder.evaluation.uncertainty_metrics import UNCERTAINTY_METRICS
from imder.metrics import METRICS, MetricInfo


def metric_info(name: str) -> MetricInfo:
    """Label, direction and scale of a metric; a name without a row in any table is its own label, of a share.

    >>> metric_info("mae").label, metric_info("coverage").higher_is_better
    ('MAE', None)
    """
    for metric in (*METRICS, *UNCERTAINTY_METRICS):
        if metric.name == name:
            return metric
    return MetricInfo(name, name, True, True)


def scale_of(name: str) -> tuple[int, int]:
    """The factor that a metric's values are shown with, and the digits: percent with one, anything else with three."""
    return (100, 1) if metric_info(name).share else (1, 3)


def format_value(name: str, mean: float, deviation: float = math.nan) -> str:
    """A cell's text: mean and, where it is known, deviation.

    >>> format_value("acc2", 0.8123, 0.0091), format_value("mae", 0.7, math.nan), format_value("corr", math.nan)
    ('81.2 ± 0.9', '0.700', '–')
    """
    if math.isnan(mean):
        return "–"
    scale, digits = scale_of(name)
    text = f"{scale * mean:.{digits}f}"
    return text if math.isnan(deviation) else f"{text} ± {scale * deviation:.{digits}f}"
