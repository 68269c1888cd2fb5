"""Plots of time series: predictions, their uncertainty, and the available modalities.

Regression is a line with its interval. Classification has a row for each class, darker for higher probability, with a dot
where the class is in the prediction set. Below, each modality has a lane that is filled where a window has the modality,
darker for higher coverage. A prediction is drawn at the middle of its window and extends halfway to its neighbours, within
its window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from imder.inference.predict import Row
from imder.jobs.files import atomic_write
from imder.types import ImderError, Spec

_LINE, _DOT = "#0072B2", "#D55E00"  # of Okabe and Ito's colours
_GREYS = LinearSegmentedColormap.from_list("lanes", ["0.88", "0.45"])


def plot_series(rows: Sequence[Row], spec: Spec, path: str | Path, *, level: float, title: str = "") -> None:
    """Write a plot of `imder.media.windows.predict_windows` as PNG, atomically.

    Args:
        rows: the windows.
        spec: the system's spec.
        path: the file.
        level: level of the intervals or prediction sets in ``rows``.
        title: title of the plot.

    Raises:
        ImderError: there are no rows, or the file can't be written.
    """
    if not rows:
        raise ImderError(f"{path}: no windows to draw")
    classes = spec.classes if spec.task == "classification" else ()
    heights = [0.26 * max(6, len(classes)) + 0.5, 0.24 * len(spec.names) + 0.2]
    figure = Figure(figsize=(8.4, sum(heights) + 1.1), dpi=150, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    top, lanes = figure.subplots(2, 1, sharex=True, height_ratios=heights)
    middle = np.array([(row["start"] + row["end"]) / 2 for row in rows])
    if classes:
        _classes(figure, top, rows, classes, level)
    else:
        _values(top, rows, middle, level)
    is_available = np.array([[name in row["available"].split("+") for row in rows] for name in spec.names])
    shares = np.array([[row.get(f"share_{name}", 1.0) for row in rows] for name in spec.names])
    edges, to_cells = _cells(rows)
    lanes.pcolormesh(
        edges,
        np.arange(len(spec.names) + 1) - 0.5,
        to_cells(np.where(is_available, shares, np.nan)),
        cmap=_GREYS,
        vmin=0,
        vmax=1,
    )
    lanes.set_yticks(range(len(spec.names)), spec.names)
    lanes.set_ylim(len(spec.names) - 0.5, -0.5)
    lanes.set_xlim(rows[0]["start"], rows[-1]["end"])
    lanes.set_xlabel("seconds (middle of the window)")
    lanes.hlines(np.arange(1, len(spec.names)) - 0.5, *lanes.get_xlim(), color="white", linewidth=3)
    for axes in (top, lanes):
        axes.spines[["top", "right"]].set_visible(False)
    lanes.tick_params(axis="y", length=0)
    top.set_title(title, loc="left", fontsize=10)
    with atomic_write(path) as part, part.open("wb") as file:
        canvas.print_png(file)  # type: ignore[no-untyped-call]


def _values(axes: Axes, rows: Sequence[Row], middle: NDArray[np.float64], level: float) -> None:
    line = _column(rows, "prediction")
    ends = np.concatenate([[rows[0]["start"]], middle, [rows[-1]["end"]]])  # the first and last values hold to the ends
    if any(row.get("low") is not None for row in rows):
        low, high = _column(rows, "low"), _column(rows, "high")
        band = (np.pad(low, 1, "edge"), np.pad(high, 1, "edge"))
        axes.fill_between(ends, *band, color=_LINE, alpha=0.18, linewidth=0, label=f"{100 * level:g} % interval")
    # Markers show a window between two without predictions, where the line has no length.
    axes.plot(ends, np.pad(line, 1, "edge"), color=_LINE, linewidth=1.6)
    axes.plot(middle, line, color=_LINE, linestyle="", marker="o" if len(rows) < 60 else ".", markersize=3)
    axes.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    axes.set_ylabel("prediction")
    axes.grid(alpha=0.25)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="upper right", fontsize=8)


def _classes(figure: Figure, axes: Axes, rows: Sequence[Row], classes: Sequence[str], level: float) -> None:
    shares = np.stack([_column(rows, f"p_{name}") for name in classes])
    most = max(0.5, np.ceil(10 * np.nanmax(shares)) / 10)  # with many classes, none may reach a high probability
    edges, to_cells = _cells(rows)
    drawn = axes.pcolormesh(edges, np.arange(len(classes) + 1) - 0.5, to_cells(shares), cmap="Blues", vmin=0, vmax=most)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_ylim(len(classes) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    figure.colorbar(drawn, ax=axes, label="probability", pad=0.01)
    middle = [(row["start"] + row["end"]) / 2 for row in rows]
    in_set = [
        (x, i) for x, row in zip(middle, rows) for i, c in enumerate(classes) if c in (row.get("set") or "").split("|")
    ]
    if in_set:
        size = float(np.clip(600 / len(rows), 1, 14))
        x, y = zip(*in_set)
        axes.scatter(x, y, s=size, color=_DOT, linewidth=0, label=f"in the {100 * level:g} % set")
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize=8, borderaxespad=0.2)


def _column(rows: Sequence[Row], name: str) -> NDArray[np.float64]:
    """A column; NaN (a gap in the plot) for windows without a prediction."""
    return np.array([row.get(name, np.nan) for row in rows], np.float64)


def _cells(
    rows: Sequence[Row],
) -> tuple[NDArray[np.float64], Callable[[NDArray[np.float64]], NDArray[np.float64]]]:
    """Edges of the windows' cells in seconds, and a function from values ``(..., windows)`` to values of the cells.

    A cell extends halfway to the middles of its neighbours, within its own window; the first and the last extend to the ends of
    their windows. A gap between cells is a cell of NaN.
    """
    start, end = _column(rows, "start"), _column(rows, "end")
    middle = (start + end) / 2
    half = np.diff(middle) / 2
    left = middle - np.minimum((end - start) / 2, np.concatenate([[np.inf], half]))
    right = middle + np.minimum((end - start) / 2, np.concatenate([half, [np.inf]]))
    edges, window_of_cell = [left[0]], []
    for i in range(len(rows)):
        if left[i] - edges[-1] > 1e-6:
            edges.append(left[i])
            window_of_cell.append(-1)
        edges.append(right[i])
        window_of_cell.append(i)

    def to_cells(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(np.array(window_of_cell) < 0, np.nan, values[..., window_of_cell])

    return np.array(edges), to_cells
