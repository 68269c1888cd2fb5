"""A picture of paired differences over the missing rate: one line for each system, with the band of its 95 % intervals.

A few systems share one panel, and each line ends in its system's name. More get a panel each (small multiples), with the
other systems' lines in grey, since bands hide one another. Colours are those that colour-blind readers tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray

from imder.evaluation.curve import conditions
from imder.evaluation.formatting import metric_info, scale_of
from imder.evaluation.plots import COLOURS, COLUMNS, DARK, MARKERS, save_figure
from imder.missingness.protocols import PROTOCOLS
from imder.types import ImderError

MOST_LINES = 8
"""Systems in one picture."""

FAINT = "0.8"

Row = Mapping[str, Any]
Line = NDArray[np.float64]
"""``(4, S)``: missing rate, difference, low, high at each setting."""


def plot_rate_differences(
    comparisons: Sequence[Row],
    metric: str,
    path: str | Path,
    *,
    protocol: str = "random",
    leave_out: Sequence[str] = (),
) -> None:
    """Write a plot of the systems' differences from a reference over the missing rate, as PNG, atomically.

    Of more than `MOST_LINES` systems the best on average are drawn, and the title says so.

    Args:
        comparisons: rows of `imder.benchmarking.significance.compare` with one reference.
        metric: which metric.
        path: the file.
        protocol: one that has rates.
        leave_out: systems that are not drawn.

    Raises:
        ImderError: no differences of that metric at two rates or more, several references, or the file can't be written.
    """
    rows = [
        row
        for row in comparisons
        if (row["protocol"], row["metric"]) == (protocol, metric)
        and row["rate"] is not None
        and row["model"] not in leave_out
    ]
    references = {row["reference"] for row in rows}
    lines = difference_lines(rows, protocol)
    if not lines:
        raise ImderError(f"nothing to plot: no differences in {metric!r} at two rates of the {protocol} protocol")
    if len(references) > 1:
        raise ImderError(f"differences from several systems ({', '.join(sorted(references))}): make a plot of each")
    (reference,) = references
    info = metric_info(metric)
    best = best_lines(lines, higher_is_better=bool(info.higher_is_better))
    figure = difference_figure(best, reference, scale_of(metric)[0])
    nominal = PROTOCOLS[protocol].nominal
    figure.supxlabel(f"missing rate ({'nominal' if nominal else 'share of modalities that are missing'})", fontsize=10)
    unit = ", points" if info.share else ""
    figure.supylabel(f"difference in {info.label}{unit} ({'↑' if info.higher_is_better else '↓'} better)", fontsize=10)
    count = f"; the best {len(best)} of {len(lines)} systems" if len(lines) > len(best) else ""
    title = f"{protocol} protocol: difference from {reference}, bands: 95 % intervals{count}"
    figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize=10)
    save_figure(figure, path)


def difference_lines(rows: Sequence[Row], protocol: str) -> dict[str, Line]:
    """For each system with two missing rates or more its line; rates that are one condition are one point."""
    shares = {row["rate"]: row["effective_rate"] for row in sorted(rows, key=lambda row: float(row["rate"]))}
    first = [list(shares)[group[0]] for group in conditions(protocol, list(shares.values()))]
    key = "rate" if PROTOCOLS[protocol].nominal else "effective_rate"
    lines = {}
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = {row["rate"]: row for row in rows if row["model"] == model}
        points = [mine[rate] for rate in first if rate in mine and not np.isnan(mine[rate]["difference"])]
        if len(points) > 1:
            lines[model] = np.array([[float(row[k]) for row in points] for k in (key, "difference", "low", "high")])
    return lines


def best_lines(lines: Mapping[str, Line], *, higher_is_better: bool) -> dict[str, Line]:
    """At most `MOST_LINES` of the lines, the best on average, in the order given."""
    sign = 1 if higher_is_better else -1
    best = sorted(lines, key=lambda model: -sign * float(np.nanmean(lines[model][1])))[:MOST_LINES]
    return {model: line for model, line in lines.items() if model in best}


def difference_figure(lines: Mapping[str, Line], reference: str, scale: float = 1.0) -> Figure:
    """Lines and bands, without labels of the axes.

    Args:
        lines: of `difference_lines`, by system.
        reference: the system at 0.
        scale: factor of the values.
    """
    many = len(lines) > len(COLOURS)
    across = min(COLUMNS, len(lines)) if many else 1
    down = -(-len(lines) // across) if many else 1
    size = (2.0 * across + 0.6, 1.8 * down + 0.9) if many else (7.2, 4.2)
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat:
        axes.axhline(0, color=DARK, linewidth=1.0)
        axes.xaxis.set_major_locator(MultipleLocator(0.2 if many else 0.1))
        axes.grid(axis="y", alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    if many:
        for i, (axes, model) in enumerate(zip(grid.flat, lines, strict=False)):
            for other in lines.values():
                axes.plot(other[0], scale * other[1], color=FAINT, linewidth=0.9, zorder=1)
            _draw(axes, lines[model], COLOURS[0], "", scale)
            axes.set_title(model, fontsize=9, color=COLOURS[0])
            axes.xaxis.set_tick_params(labelbottom=i + across >= len(lines))
        for axes in list(grid.flat)[len(lines) :]:
            axes.set_visible(False)
        return figure
    for line, colour, marker in zip(lines.values(), COLOURS, MARKERS, strict=False):
        _draw(grid[0, 0], line, colour, marker, scale)
    _name_ends(grid[0, 0], lines, reference, scale)
    return figure


def _draw(axes: Axes, line: Line, colour: str, marker: str, scale: float) -> None:
    x, difference, low, high = line[0], *(scale * line[1:])
    axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(x, difference, color=colour, marker=marker, markersize=4, linewidth=1.6)


def _name_ends(axes: Axes, lines: Mapping[str, Line], reference: str, scale: float) -> None:
    """The systems' names at the right ends of their lines, and the reference's at 0."""
    low, high = axes.get_ylim()
    beyond = axes.get_xlim()[1]
    right = max(float(line[0, -1]) for line in lines.values())
    ends = [(model, line[0, -1], scale * line[1, -1], colour) for (model, line), colour in zip(lines.items(), COLOURS)]
    ends.append((reference, right, 0.0, DARK))
    heights = spread([float(y) for _, _, y, _ in ends], 0.055 * (high - low))
    for (model, x, y, colour), height in zip(ends, heights, strict=True):
        axes.annotate(
            model, (x, y), (beyond, height), color=colour, fontsize=9, va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3},
            annotation_clip=False,
        )  # fmt: skip


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Positions moved apart to at least ``gap``, as little as possible and in their order.

    >>> spread([0.0, 0.1, 2.0], 1.0)
    [-0.45, 0.55, 2.0]
    """
    order = np.argsort(positions, kind="stable")
    groups: list[list[float]] = []  # [number of positions, sum of the positions less their offsets in the group]
    for position in np.asarray(positions, np.float64)[order].tolist():
        groups.append([1, position])
        while len(groups) > 1:
            (n, total), (m, other) = groups[-2:]
            if total / n + n * gap <= other / m:
                break
            groups[-2:] = [[n + m, total + other - m * n * gap]]
    moved = [total / n + i * gap for n, total in groups for i in range(int(n))]
    out = np.empty(len(moved))
    out[order] = moved
    return [float(value) for value in out]
