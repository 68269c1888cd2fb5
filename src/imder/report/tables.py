"""Tables for readers who sort and filter: a line for each system and setting, a column for each metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from imder.benchmarking.significance import interval_text
from imder.evaluation.formatting import format_value, metric_info
from imder.evaluation.rendering import Part, Table
from imder.metrics import METRICS

Row = Mapping[str, Any]


def setting_name(row: Row) -> str:
    """A missing rate, a subset, an average, or ``natural``."""
    if row["available"]:
        return str(row["available"])
    return "natural" if row["rate"] is None else f"{row['rate']:.2g}"


def values_table(title: str, summary: Sequence[Row], setting: str, metrics: Sequence[str]) -> Table:
    """Means and deviations.

    Args:
        title: of the table.
        summary: rows of `imder.evaluation.results.summarise` and `averages`.
        setting: header of the column of settings.
        metrics: which metrics.
    """
    lines = [
        (
            (row["model"], False),
            (setting_name(row), False),
            *((format_value(m, _number(row.get(m)), _number(row.get(f"{m}_sd"))), False) for m in metrics),
        )
        for row in summary
    ]
    return Table(title, ("system", setting, *(metric_info(m).label for m in metrics)), tuple(lines), lead=2)


def differences_table(title: str, rows: Sequence[Row], setting: str) -> Table:
    """Differences with their intervals; bold: better than the baseline, the interval without 0.

    Args:
        title: of the table.
        rows: of `imder.benchmarking.significance.compare`.
        setting: header of the column of settings.
    """
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    cells: dict[tuple[str, str], dict[str, Part]] = {}
    for row in rows:
        cells.setdefault((row["model"], setting_name(row)), {})[row["metric"]] = interval_text(row)
    lines = [
        ((model, False), (name, False), *(line.get(metric, ("–", False)) for metric in metrics))
        for (model, name), line in cells.items()
    ]
    return Table(title, ("system", setting, *(metric_info(m).label for m in metrics)), tuple(lines), lead=2)


def shown_metrics(summary: Sequence[Row]) -> tuple[str, ...]:
    """The metrics of predictions that some row has, in the order of `imder.metrics.METRICS`."""
    return tuple(dict.fromkeys(metric.name for metric in METRICS if any(metric.name in row for row in summary)))


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
