"""A picture of a table: one metric over the missing rate, a line for each system, a band of one standard deviation.

Drawn on a figure of its own, without the plotting library's global state, so that it works in any thread and without a
display. Reference systems (the constant baseline, the Bayes optimum) are grey and dashed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from imder.evaluation.formatting import metric_info, scale_of
from imder.evaluation.results import conditions, metric_names, summarise
from imder.evaluation.tables import REFERENCES
from imder.jobs.files import atomic_write
from imder.missingness.protocols import PROTOCOLS
from imder.types import ImderError

# Okabe and Ito's colours, told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^Dv<>PXph*"
FEW = 5  # systems whose legend finds room among the lines


def plot_rates(
    rows: Sequence[Mapping[str, Any]],
    metric: str,
    path: str | Path,
    *,
    protocol: str = "random",
    references: Sequence[str] = REFERENCES,
) -> None:
    """Write a plot of a metric over the missing rate, as PNG, atomically.

    Args:
        rows: tidy rows (`imder.evaluation.evaluate.evaluate`) of one corpus and split.
        metric: which metric.
        path: the file.
        protocol: ``random`` or ``official``.
        references: systems drawn in grey.

    Raises:
        ImderError: no rows of that protocol have a rate and the metric, there are several corpora or splits, or the
            place can't be written.
    """
    rows = [row for row in rows if row["protocol"] == protocol and row["rate"] is not None]
    if metric not in metric_names(rows):
        raise ImderError(f"nothing to plot: no results of the {protocol} protocol with a rate and {metric!r}")
    if len({(row["corpus"], row["split"]) for row in rows}) > 1:
        raise ImderError("results of several corpora or splits: make a plot of each")
    nominal = PROTOCOLS[protocol].nominal
    summary = sorted(summarise(rows), key=lambda row: row["rate"])
    shares = {row["rate"]: row["effective_rate"] for row in summary}
    groups = conditions(protocol, list(shares.values()))
    least = [list(shares)[group[0]] for group in groups]  # of the rates that are one condition, it stands for all
    summary = [row for row in summary if row["rate"] in least]
    models = list(dict.fromkeys(row["model"] for row in rows))
    many = len(models) > FEW
    figure = Figure(figsize=(8.2 if many else 6.4, 4.2), dpi=150, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    scale, _ = scale_of(metric)
    drawn = {"systems": 0, "references": 0}
    for model in models:
        mine = [row for row in summary if row["model"] == model and metric in row]
        if not mine:  # not every system has every metric: an ensemble isn't calibrated
            continue
        x = np.array([row["rate" if nominal else "effective_rate"] for row in mine])
        mean = scale * np.array([row[metric] for row in mine])
        sd = np.nan_to_num(scale * np.array([row[f"{metric}_sd"] for row in mine]))
        if model in references:
            style = (("--", ":", "-.")[drawn["references"] % 3], "0.45", "")
            drawn["references"] += 1
        else:
            place = drawn["systems"] % len(COLOURS)
            again = drawn["systems"] >= len(COLOURS)  # colours come round: dashed, and markers differ
            style = ("--" if again else "-", COLOURS[place], MARKERS[drawn["systems"] % len(MARKERS)])
            drawn["systems"] += 1
        line, colour, marker = style
        above = 3.0 - 0.01 * sum(drawn.values())  # where lines meet, the first ones asked for are seen
        axes.fill_between(x, mean - sd, mean + sd, color=colour, alpha=0.06 if many else 0.15, linewidth=0)
        axes.plot(x, mean, line, color=colour, marker=marker, markersize=5, linewidth=1.8, label=model, zorder=above)
    what = "nominal" if nominal else "share of modalities that are missing"
    axes.set_xlabel(f"missing rate ({what})")
    axes.set_ylabel(f"{metric_info(metric).label}{' (%)' if scale == 100 else ''}")
    axes.set_title(f"{rows[0]['corpus']} [{rows[0]['split']}], {protocol} protocol", loc="left", fontsize=10)
    axes.xaxis.set_major_locator(MultipleLocator(0.1))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if many:  # beside the lines, which would leave no room
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)
    else:
        axes.legend(frameon=False)
    with atomic_write(path) as part, part.open("wb") as file:
        canvas.print_png(file)  # type: ignore[no-untyped-call]
