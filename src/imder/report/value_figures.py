"""Metrics of systems over the missing rate, with the deviation of one draw of one training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator

from imder.calibration.describe import LEVEL
from imder.evaluation.formatting import metric_info
from imder.evaluation.plots import COLOURS, DASHES, MARKERS, Line
from imder.report.style import GREY, INK, grid_lines, new_figure


def value_figure(lines: Mapping[str, Line], metric: str, references: Sequence[str]) -> Figure:
    """A metric over the missing rate: lines for a few systems, ranges for more.

    Args:
        lines: of `imder.evaluation.plots.rate_lines`, by system, in percent where the metric is a share.
        metric: which metric.
        references: systems drawn in grey.
    """
    systems = {model: line for model, line in lines.items() if model not in references}
    grey = {model: line for model, line in lines.items() if model in references}
    info = metric_info(metric)
    label = f"{info.label}{' (%)' if info.share else ''}"
    if len(systems) <= len(COLOURS):
        figure = new_figure(2.5)
        axes = figure.subplots()
        for (model, line), colour, marker in zip(systems.items(), COLOURS, MARKERS, strict=False):
            _draw(axes, line, model, colour, marker)
        _references(axes, grey, metric)
        axes.xaxis.set_major_locator(MultipleLocator(0.1))
        axes.set_xlabel("missing rate")
        axes.set_ylabel(label)
        axes.legend()
        return figure
    return range_figure(systems, metric, label)


def range_figure(lines: Mapping[str, Line], metric: str, label: str) -> Figure:
    """A line for each of many systems: the range of its means over the missing rate, and their average as a dot."""
    figure = new_figure(0.17 * len(lines) + 0.75)
    axes = figure.subplots()
    for y, (_, mean, _) in enumerate(lines.values()):
        axes.plot([mean.min(), mean.max()], [y, y], color=COLOURS[0])
        axes.plot([mean.mean()], [y], "o", color=COLOURS[0])
    if metric == "coverage":
        axes.axvline(100 * LEVEL, color=INK, linewidth=0.7)
    axes.set_yticks(range(len(lines)), list(lines))
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    grid_lines(axes, "x")
    return figure


def _draw(axes: Axes, line: Line, label: str, colour: str, marker: str) -> None:
    x, mean, deviation = line
    axes.fill_between(x, mean - deviation, mean + deviation, color=colour, alpha=0.15, linewidth=0)
    axes.plot(x, mean, color=colour, marker=marker, label=label)
    grid_lines(axes)


def _references(axes: Axes, lines: Mapping[str, Line], metric: str) -> None:
    for i, (model, (x, mean, _)) in enumerate(lines.items()):
        axes.plot(x, mean, DASHES[i % len(DASHES)], color=GREY, label=model, linewidth=1)
    if metric == "coverage":
        axes.axhline(100 * LEVEL, color=INK, linewidth=0.7, label=f"promised {100 * LEVEL:g} %")
