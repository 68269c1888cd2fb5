"""Pictures of results: a metric over the missing rate, and differences from a reference with their intervals.

A few systems share one panel; more get a panel each (small multiples), in which a reference system is repeated. Colours mean
the same in every panel and never repeat. References that don't compete (the constant baseline, the Bayes optimum) are grey
and dashed; the level that intervals promise is a line.

Figures are drawn without the plotting library's global state, so this works in any thread and without a display.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator

from imder.calibration.describe import LEVEL
from imder.evaluation.curve import conditions
from imder.evaluation.formatting import metric_info, scale_of
from imder.evaluation.results import metric_names, summarise
from imder.evaluation.tables import REFERENCES
from imder.jobs.files import atomic_write
from imder.missingness.protocols import PROTOCOLS
from imder.types import ImderError

# Of Okabe and Ito's palette, told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
MARKERS = "os^D"
DARK, LIGHT = "0.25", "0.55"
DASHES = ("--", ":", "-.")
COLUMNS = 4
"""Panels side by side."""

Row = Mapping[str, Any]


def plot_rates(
    rows: Sequence[Row],
    metric: str,
    path: str | Path,
    *,
    protocol: str = "random",
    references: Sequence[str] = REFERENCES,
) -> None:
    """Write a plot of a metric over the missing rate, as PNG, atomically.

    Lines are means, bands one standard deviation of one draw of one run. More systems than `COLOURS` get a panel each, with
    ``imder`` (or else the first system) repeated in all.

    Args:
        rows: tidy rows (`imder.evaluate`) of one corpus and split.
        metric: which metric.
        path: the file.
        protocol: one that has rates.
        references: systems drawn in grey.

    Raises:
        ImderError: no rows of that protocol have a rate and the metric, there are several corpora or splits, or the
            file can't be written.
    """
    rows = [row for row in rows if row["protocol"] == protocol and row["rate"] is not None]
    if metric not in metric_names(rows):
        raise ImderError(f"nothing to plot: no results of the {protocol} protocol with a rate and {metric!r}")
    if len({(row["corpus"], row["split"]) for row in rows}) > 1:
        raise ImderError("results of several corpora or splits: make a plot of each")
    lines = rate_lines(rows, metric, protocol)
    systems = [model for model in lines if model not in references]
    grey = {model: DASHES[i % len(DASHES)] for i, model in enumerate(m for m in lines if m in references)}
    many = len(systems) > len(COLOURS)
    shared = ("imder" if "imder" in systems else systems[0]) if many else None
    panels = [[m] for m in systems if m != shared] if many else [systems]
    across = min(COLUMNS, len(panels))
    down = -(-len(panels) // across)
    size = (2.1 * across + 0.6, 1.9 * down + 1.1) if many else (6.4, 4.2)
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for axes, models in zip(grid.flat, panels, strict=False):
        for model, dashes in grey.items():
            _draw(axes, lines[model], model, LIGHT, dashes, "")
        if shared is not None:
            _draw(axes, lines[shared], shared, DARK, "-", "")
            axes.set_title(models[0], fontsize=9)
        for i, model in enumerate(models):
            _draw(axes, lines[model], "the system" if many else model, COLOURS[i], "-", MARKERS[i])
        if metric == "coverage":
            axes.axhline(100 * LEVEL, color="black", linewidth=0.9, label=f"promised {100 * LEVEL:g} %")
        axes.xaxis.set_major_locator(MultipleLocator(0.2 if many else 0.1))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    for column in range(across):  # the lowest visible panel of a column has the numbers
        lowest = range(column, len(panels), across)[-1]
        grid.flat[lowest].xaxis.set_tick_params(labelbottom=True)
    share = "nominal" if PROTOCOLS[protocol].nominal else "share of modalities that are missing"
    label = f"{metric_info(metric).label}{' (%)' if metric_info(metric).share else ''}"
    figure.supxlabel(f"missing rate ({share})", fontsize=10)
    figure.supylabel(label, fontsize=10)
    title = f"{rows[0]['corpus']} [{rows[0]['split']}], {protocol} protocol"
    figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize=10)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    if many:
        figure.legend(handles, labels, frameon=False, loc="outside upper right", ncols=len(labels), fontsize=9)
    else:
        grid.flat[0].legend(frameon=False, fontsize=9)
    save_figure(figure, path)


def plot_differences(comparisons: Sequence[Row], path: str | Path, *, protocol: str) -> None:
    """Write a plot of the systems' differences from the reference, with their 95 % intervals, as PNG, atomically.

    Args:
        comparisons: rows of `imder.benchmarking.significance.compare`; of a protocol with several settings, their average.
        path: the file.
        protocol: which of their protocols.

    Raises:
        ImderError: nothing was compared under that protocol, or the file can't be written.
    """
    rows = [row for row in comparisons if row["protocol"] == protocol]
    if not rows:
        raise ImderError(f"nothing to plot: no systems were compared under the {protocol} protocol")
    averaged = [row for row in rows if row["available"].startswith("average")]
    rows = averaged or [row for row in rows if _setting(row) == _setting(rows[0])]
    models = list(dict.fromkeys(row["model"] for row in rows))
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    height = 0.3 * len(models) + 1.7
    figure = Figure(figsize=(2.4 * len(metrics) + 1.6, height), dpi=150, layout="constrained")
    grid = figure.subplots(1, len(metrics), sharey=True, squeeze=False)
    for axes, metric in zip(grid.flat, metrics, strict=True):
        info, (scale, _) = metric_info(metric), scale_of(metric)
        for row in (row for row in rows if row["metric"] == metric):
            y, ends = models.index(row["model"]), scale * np.array([row["low"], row["high"]])
            apart = row["low"] > 0 or row["high"] < 0
            better = (row["difference"] > 0) == info.higher_is_better
            colour = (COLOURS[0] if better else COLOURS[1]) if apart else LIGHT
            axes.plot(ends, [y, y], color=colour, linewidth=2)
            axes.plot([scale * row["difference"]], [y], "o", color=colour, markersize=5)
        axes.axvline(0, color="black", linewidth=0.9)
        axes.set_title(f"{info.label}{' (points)' if info.share else ''}", fontsize=10)
        axes.set_xlabel("better →" if info.higher_is_better else "← better", fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="x", alpha=0.25)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    grid.flat[0].set_yticks(range(len(models)), models, fontsize=9)
    grid.flat[0].set_ylim(len(models) - 0.5, -0.5)
    setting = f", {rows[0]['available']}" if rows[0]["available"] else ""
    reference = rows[0]["reference"]
    key = f"blue: better than {reference}, orange: worse, grey: the interval holds 0"
    figure.supxlabel(key, fontsize=9)
    title = f"{protocol} protocol{setting}: difference from {reference}, 95 % interval"
    figure.suptitle(title, fontsize=10)
    save_figure(figure, path)


def _setting(row: Row) -> tuple[Any, str]:
    return row["rate"], row["available"]


Line = tuple[np.ndarray[Any, np.dtype[np.float64]], ...]
"""Missing rates, means and deviations, each ``(S,)``."""


def rate_lines(rows: Sequence[Row], metric: str, protocol: str) -> dict[str, Line]:
    """For each system that has the metric its line; rates that are one condition are one point."""
    summary = sorted(summarise(rows), key=lambda row: row["rate"])
    shares = {row["rate"]: row["effective_rate"] for row in summary}
    first = [list(shares)[group[0]] for group in conditions(protocol, list(shares.values()))]
    scale, _ = scale_of(metric)
    nominal = PROTOCOLS[protocol].nominal
    lines: dict[str, Line] = {}
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in summary if row["model"] == model and metric in row and row["rate"] in first]
        if mine:  # an ensemble, say, isn't calibrated and has no coverage
            x = np.array([row["rate" if nominal else "effective_rate"] for row in mine])
            mean, deviation = (scale * np.array([row[key] for row in mine]) for key in (metric, f"{metric}_sd"))
            lines[model] = x, mean, np.nan_to_num(deviation)
    return lines


def _draw(axes: Axes, line: Line, label: str, colour: str, dashes: str, marker: str) -> None:
    x, mean, deviation = line
    if dashes == "-":
        axes.fill_between(x, mean - deviation, mean + deviation, color=colour, alpha=0.15, linewidth=0)
    axes.plot(x, mean, dashes, color=colour, marker=marker, markersize=4, linewidth=1.6, label=label)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, atomically."""
    canvas = FigureCanvasAgg(figure)
    with atomic_write(path) as part, part.open("wb") as file:
        canvas.print_png(file)  # type: ignore[no-untyped-call]
