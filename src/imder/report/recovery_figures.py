"""How much recovery counts for each pattern of available modalities, and how much of the true encodings it explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from imder.evaluation.plots import COLOURS, MARKERS
from imder.report.style import BETTER, GREY, INK, grid_lines, new_figure

LEAST_R2 = -1.0
"""Smaller values are drawn as an arrow at the edge."""


def recovery_figure(
    weights: Mapping[str, float], r2: Mapping[str, float], modalities: Sequence[str], short: Mapping[str, str]
) -> Figure:
    """Two panels with a line for each pattern: the weight of recoveries, and recovery R^2 of what is missing.

    Args:
        weights: by pattern.
        r2: by ``modality | pattern`` (`imder.models.imder.recovery_r2`).
        modalities: the K names.
        short: for each pattern its label.
    """
    patterns = [pattern for pattern in short if pattern.count("+") + 1 < len(modalities)]
    figure = new_figure(0.24 * len(patterns) + 1.0)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1.7))
    for y, pattern in enumerate(patterns):
        left.barh(y, weights.get(pattern, 0.0), color=BETTER, height=0.55)
        left.text(weights.get(pattern, 0.0) + 0.04, y, f"{weights.get(pattern, 0.0):.2g}", va="center", fontsize=6.5)
        missing = [m for m in modalities if m not in pattern.split("+")]
        for i, modality in enumerate(missing):
            value = r2.get(f"{modality} | {pattern}")
            if value is not None:
                k = modalities.index(modality)
                height = y + 0.24 * (i - (len(missing) - 1) / 2)
                marker = MARKERS[k % len(MARKERS)] if value >= LEAST_R2 else "<"
                right.plot(
                    max(value, LEAST_R2), height, marker, color=COLOURS[k % len(COLOURS)], markersize=4, clip_on=False
                )
    for k, modality in enumerate(modalities):
        right.plot([], [], MARKERS[k % len(MARKERS)], color=COLOURS[k % len(COLOURS)], markersize=4, label=modality)
    left.set_yticks(range(len(patterns)), [short[pattern] for pattern in patterns])
    left.set_ylim(len(patterns) - 0.4, -0.6)
    left.set_xlim(0, 1.3)
    left.set_xticks([0, 0.5, 1])
    left.set_xlabel("weight of recovery")
    left.set_ylabel("available")
    right.set_xlim(LEAST_R2, 1.0)
    right.axvline(0, color=INK, linewidth=0.7)
    right.axvline(1, color=GREY, linewidth=0.7)
    right.xaxis.set_major_locator(MultipleLocator(0.5))
    right.set_xlabel(r"recovery R² of what is missing")
    for axes in (left, right):
        grid_lines(axes, "x")
    figure.legend(loc="outside upper right", ncols=len(modalities), handletextpad=0.1, columnspacing=0.8)
    return figure
