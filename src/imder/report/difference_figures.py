"""Differences from a baseline with their 95 % intervals: on average, over the missing rate, and over subsets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator

from imder.evaluation.difference_plot import Line, best_lines
from imder.evaluation.formatting import metric_info, scale_of
from imder.report.style import BETTER, GREY, INK, WORSE, grid_lines, new_figure, panels

Row = Mapping[str, Any]


def average_figure(rows: Sequence[Row]) -> Figure:
    """A line for each system: its difference from the baseline.

    Args:
        rows: of `imder.benchmarking.significance.compare`, one for each system, of one metric and setting.
    """
    figure = new_figure(0.17 * len(rows) + 0.75)
    axes = figure.subplots()
    for y, row in enumerate(rows):
        _interval(axes, row, y)
    axes.set_yticks(range(len(rows)), [row["model"] for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    _zero_line(axes, "v")
    axes.set_xlabel(_label(rows[0]["metric"]))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    grid_lines(axes, "x")
    return figure


def rate_figure(lines: Mapping[str, Line], metric: str) -> Figure:
    """A panel for each system: its difference over the missing rate, with the band of its intervals.

    Args:
        lines: of `imder.evaluation.difference_plot.difference_lines`, by system; of many the best are drawn.
        metric: which metric, for scale and colour.
    """
    higher_is_better = bool(metric_info(metric).higher_is_better)
    shown, scale = best_lines(lines, higher_is_better=higher_is_better), scale_of(metric)[0]
    figure, each = panels(list(shown), 1.15)
    for axes, line in zip(each, shown.values(), strict=True):
        for other in shown.values():
            axes.plot(other[0], scale * other[1], color=GREY, alpha=0.35, linewidth=0.7, zorder=1)
        x, difference, low, high = line[0], *(scale * line[1:])
        axes.fill_between(x, low, high, color=BETTER, alpha=0.2, linewidth=0)
        axes.plot(x, difference, color=BETTER, marker="o")
        _zero_line(axes, "h")
        grid_lines(axes)
        axes.xaxis.set_major_locator(MultipleLocator(0.2))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    figure.supxlabel("missing rate", fontsize=7.5)
    figure.supylabel(_label(metric).replace(" (", "\n("), fontsize=7.5, multialignment="center")
    return figure


def subset_figure(rows: Sequence[Row], short: Mapping[str, str]) -> Figure:
    """A panel for each system: its difference for each fixed subset of the modalities, with its interval.

    Args:
        rows: of `imder.benchmarking.significance.compare`, of one metric and the fixed protocol, without averages; of many
            systems the best are drawn.
        short: for each subset its label.
    """
    metric = rows[0]["metric"]
    by_model: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_model.setdefault(row["model"], {})[row["available"]] = row
    lines = {m: np.array([[0.0] * len(of), [r["difference"] for r in of.values()]]) for m, of in by_model.items()}
    shown = best_lines(lines, higher_is_better=bool(metric_info(metric).higher_is_better))
    subsets = [name for name in short if any(row["available"] == name for row in rows)]
    figure, each = panels(list(shown), 0.13 * len(subsets) + 0.35)
    for axes, model in zip(each, shown, strict=True):
        for y, subset in enumerate(subsets):
            if subset in by_model[model]:
                _interval(axes, by_model[model][subset], y)
        axes.set_yticks(range(len(subsets)), [short[name] for name in subsets])
        axes.set_ylim(len(subsets) - 0.4, -0.6)
        _zero_line(axes, "v")
        axes.xaxis.set_major_locator(MaxNLocator(3))
        grid_lines(axes, "x")
    figure.supxlabel(_label(metric), fontsize=7.5)
    return figure


def _interval(axes: Axes, row: Row, y: float) -> None:
    """A difference with its interval, in the colour of what it says."""
    scale = scale_of(row["metric"])[0]
    apart = row["low"] > 0 or row["high"] < 0
    better = (row["difference"] > 0) == bool(metric_info(row["metric"]).higher_is_better)
    colour = (BETTER if better else WORSE) if apart else GREY
    axes.plot([scale * row["low"], scale * row["high"]], [y, y], color=colour)
    axes.plot([scale * row["difference"]], [y], "o" if apart else "s", color=colour)


def _zero_line(axes: Axes, direction: str) -> None:
    (axes.axvline if direction == "v" else axes.axhline)(0, color=INK, linewidth=0.7)


def _label(metric: str) -> str:
    info = metric_info(metric)
    arrow = "" if info.higher_is_better is None else ", ↑ better" if info.higher_is_better else ", ↓ better"
    return f"difference in {info.label}{' (points' if info.share else ' ('}{arrow if info.share else arrow[2:]})"
