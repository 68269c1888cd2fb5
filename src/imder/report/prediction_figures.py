"""Predictions against labels: scatter, confusion, reliability, and coverage against the promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, MultipleLocator
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from imder.evaluation.plots import COLOURS, MARKERS
from imder.metrics.functions import ECE_BINS, confidence_bins
from imder.report.style import BETTER, GREY, INK, grid_lines, new_figure

Array = NDArray[np.float64]

MOST_POINTS = 700
"""Points of a scatter: more would hide one another and make the page heavy."""


def scatter_figure(predictions: Array, labels: Array, dots: bool = True) -> Figure:
    """Predictions ``(N,)`` over labels ``(N,)``, and the median prediction of each fifth of the labels.

    Without ``dots`` samples are counted in hexagons.
    """
    figure = new_figure(2.9)
    axes = figure.subplots()
    chosen = np.random.default_rng(0).permutation(len(labels))[:MOST_POINTS]
    ends = [float(min(labels.min(), predictions.min())), float(max(labels.max(), predictions.max()))]
    axes.plot(ends, ends, color=GREY, linewidth=0.8)
    if dots:
        axes.plot(labels[chosen], predictions[chosen], ".", color=BETTER, alpha=0.45, markersize=4.5, markeredgewidth=0)
    else:
        shades = LinearSegmentedColormap.from_list("counts", [(*to_rgb(BETTER), 0.08), to_rgb(BETTER)])
        axes.hexbin(labels, predictions, gridsize=16, mincnt=1, cmap=shades, linewidths=0)
    parts = [part for part in np.array_split(np.argsort(labels, kind="stable"), 5) if len(part)]
    middles = np.array(
        [(np.median(labels[part]), *np.quantile(predictions[part], (0.25, 0.5, 0.75))) for part in parts]
    )
    axes.vlines(middles[:, 0], middles[:, 1], middles[:, 3], color=INK, linewidth=0.9)
    axes.plot(middles[:, 0], middles[:, 2], "o", color=INK, markersize=3.5)
    axes.set_xlabel("label")
    axes.set_ylabel("prediction")
    grid_lines(axes, "both")
    return figure


def confusion_figure(probabilities: Array, labels: NDArray[Any], classes: Sequence[str]) -> Figure:
    """How often each class (a row) is predicted as which, in percent of the row; of probabilities ``(N, C)``."""
    count = len(classes)
    table = confusion_matrix(labels, probabilities.argmax(1), labels=range(count)).astype(np.float64)
    share = 100 * table / np.maximum(table.sum(1, keepdims=True), 1)
    figure = new_figure(min(3.6, 0.26 * count + 1.1))
    axes = figure.subplots()
    for row in range(count):
        for column in range(count):
            value = float(share[row, column])
            # Opacity rather than a scale of colours: it looks right on a light and on a dark page.
            square = Rectangle(
                (column - 0.48, row - 0.48), 0.96, 0.96, facecolor=BETTER, alpha=value / 100, linewidth=0
            )
            axes.add_patch(square)
            if count <= 12:
                strong = value > 55
                axes.text(
                    column,
                    row,
                    f"{value:.0f}",
                    ha="center",
                    va="center",
                    fontsize=6.5,
                    color="#fefefe" if strong else INK,
                )
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_xticks(range(count), classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def reliability_figure(by_setting: Mapping[str, tuple[Array, NDArray[Any]]]) -> Figure:
    """Accuracy over confidence in bins of the top probability, those of the metric ``ece``.

    Args:
        by_setting: for each setting probabilities ``(N, C)`` and labels ``(N,)``; at most four.
    """
    figure = new_figure(2.9)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    for (name, (probabilities, labels)), colour, marker in zip(by_setting.items(), COLOURS, MARKERS, strict=False):
        top = probabilities.max(1)
        right = probabilities.argmax(1) == labels
        bins = confidence_bins(top)
        filled = [b for b in range(ECE_BINS) if (bins == b).any()]
        size = np.array([(bins == b).sum() for b in filled])
        x, y = (np.array([values[bins == b].mean() for b in filled]) for values in (top, right))
        axes.plot(x, y, color=colour, label=name, linewidth=1)
        axes.scatter(x, y, s=4 + 60 * size / size.sum(), color=colour, marker=marker, linewidths=0, zorder=3)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("confidence: top probability")
    axes.set_ylabel("accuracy")
    axes.xaxis.set_major_locator(MultipleLocator(0.25))
    axes.yaxis.set_major_locator(MultipleLocator(0.25))
    axes.legend(loc="upper left")
    grid_lines(axes, "both")
    return figure


def promise_figure(levels: Sequence[float], by_setting: Mapping[str, Sequence[float]]) -> Figure:
    """The share of labels that intervals or sets hold over the share that they promise; at most four settings."""
    figure = new_figure(2.9)
    axes = figure.subplots()
    ends = [100 * min(levels), 100 * max(levels)]
    axes.plot(ends, ends, color=GREY, linewidth=0.8)
    for (name, values), colour, marker in zip(by_setting.items(), COLOURS, MARKERS, strict=False):
        axes.plot(100 * np.array(levels), 100 * np.array(values), color=colour, marker=marker, label=name)
    axes.set_xlabel("promised coverage (%)")
    axes.set_ylabel("observed coverage (%)")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.legend(loc="upper left")
    grid_lines(axes, "both")
    return figure
