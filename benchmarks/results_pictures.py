"""Draw the pictures of ``docs/results.md`` from the CSV files in ``docs/results``.

python benchmarks/results_pictures.py
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from results_data import FOLDER, HIGHER_IS_BETTER, LABELS, PLAIN, SYSTEMS, Results, names, read_results
from results_tables import equal_systems

from imder.evaluation.difference_plot import best_lines, difference_figure, difference_lines

BLUE, ORANGE, GREEN, GREY, LIGHT = "#1f5fa8", "#d9730d", "#2a8c5a", "#555555", "#c9ced6"
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "figure.constrained_layout.use": True,
    "savefig.dpi": 150,
}
SUMMARY = {
    "mosi_standard": ("mae", "CMU-MOSI\nstandard split"),
    "mosi_standard-folds": ("mae", "CMU-MOSI\nall 93 videos"),
    "mosi_complete": ("mae", "CMU-MOSI\ncomplete clips"),
    "ravdess_av-folds": ("accuracy", "RAVDESS, 24 speakers\nno neighbours"),
}
BY_SUBSET = ("mosi_standard", "mosi_complete", "ravdess_av-folds")
"""The corpora of the pictures by subset."""
ROWS = {
    "imder": "IMDer",
    "imder:past": "IMDer, looking back",
    "imder:no-context": "IMDer, no context",
    "imder:one-member": "IMDer, one member",
    "imder:unconditional": "unconditional recovery",
    "imder:mean": "recovery by the mean",
    "imder:zero": "recovery by zeros",
    "regression": "recovery by regression",
    "late-fusion:context": "context, 8 members",
    "late-fusion:past": "back only, 8 members",
    "late-fusion:members": "8 members, no context",
    "late-fusion:one-member": "context, one member",
    "late-fusion": "late fusion",
    "zero-fill": "zero-fill",
    "language-only": "language only",
    "ridge": "ridge by pattern",
    "mmin": "MMIN",
    "mult": "MulT, zeros",
    "gcnet": "GCNet",
    "emt-dlfr": "EMT-DLFR",
    "lnln": "LNLN",
    "constant": "constant baseline",
}
LINES = {"late-fusion:context": (BLUE, "o"), "late-fusion:past": (GREEN, "^"), "gcnet": (ORANGE, "s")}
"""The systems of the summary."""


def summary(folder: Path = FOLDER) -> Figure:
    """Differences from late fusion over the missing rate, with 95 % intervals: one panel for each corpus."""
    chosen = {name: about for name, about in SUMMARY.items() if name in names(folder)}
    figure, axes = plt.subplots(1, len(chosen), figsize=(8, 2.9))
    for ax, (name, (metric, title)) in zip(axes, chosen.items()):
        lines = differences(read_results(name, folder), metric)
        ax.axhline(0, color=GREY, linewidth=1)
        for system, (colour, marker) in LINES.items():
            if system in lines:
                x, middle, low, high = lines[system]
                ax.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
                ax.plot(x, middle, color=colour, marker=marker, markersize=3.5, linewidth=1.5, label=ROWS[system])
        ax.grid(axis="y", color=LIGHT, linewidth=0.5)
        ax.set(title=title, xlabel="share missing")
        if metric == "mae":
            ax.set_ylim(-0.12, 0.28)
            ax.tick_params(labelleft=ax is axes[0])
        else:
            ax.set_ylabel(f"{LABELS[metric].replace(', %', ', points')} ↑")
    axes[0].set_ylabel("MAE ↓")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, ncols=len(LINES), loc="outside lower center")
    figure.suptitle("Difference from late fusion without context, bands: 95 % intervals", fontsize=10)
    return figure


def differences(results: Results, metric: str) -> dict[str, Any]:
    """For each single system its line of differences from late fusion over the missing rate."""
    rows = [
        {"model": system, "rate": float(rate), "effective_rate": float(results.dropped[rate])}
        | dict(zip(("difference", "low", "high"), map(float, triple)))
        for (protocol, rate, m, system), triple in results.from_plain.items()
        if (protocol, m) == ("random", metric) and rate != "average" and not system[:1].isdigit()
    ]
    lines = difference_lines(rows, "random")
    return {system: lines[system] for system in SYSTEMS if system in lines}


def pair(results: Results) -> list[tuple[str, str, str]]:
    """The two systems of the pictures by subset, with colours and markers."""
    first = "late-fusion:context" if "late-fusion:context" in results.systems() else results.reference
    return [(first, BLUE, "o"), (PLAIN, ORANGE, "s")]


def from_plain(results: Results, metric: str) -> Figure:
    """Differences from late fusion over the missing rate, with the bands of their intervals; equal systems share a line."""
    measured = differences(results, metric)
    groups = [[s for s in group if s in measured] for group in equal_systems(results, metric)]
    lines = {named(group): measured[group[0]] for group in groups if group}
    shown = best_lines(lines, higher_is_better=metric in HIGHER_IS_BETTER)
    figure = difference_figure(shown, ROWS[PLAIN])
    arrow = "↑" if metric in HIGHER_IS_BETTER else "↓"
    figure.supxlabel("share of cells dropped")
    figure.supylabel(f"difference in {LABELS[metric]} ({arrow} better)")
    count = f"; the best {len(shown)} of {len(lines)} lines" if len(lines) > len(shown) else ""
    figure.suptitle(f"{results.name}: difference from late fusion, bands: 95 % intervals{count}", fontsize=10)
    return figure


def named(group: Sequence[str]) -> str:
    """A system's name; of several with one line the first, and on a second line late fusion's or the second."""
    others = [s for s in group[1:] if s.startswith(PLAIN)] or list(group[1:])
    return "\n= ".join(ROWS.get(system, system) for system in (group[0], *others[:1]))


def subsets() -> Figure:
    """Metrics for each available subset: the reference, late fusion and the constant baseline for each subset."""
    heights = [7, 7, 3]
    figure, axes = plt.subplots(3, 1, figsize=(7.2, 5.6), gridspec_kw={"height_ratios": heights})
    for ax, name in zip(axes, BY_SUBSET):
        metric, title = SUMMARY[name]
        results = read_results(name)
        rows = [s for s in results.settings("fixed") if not s.startswith("average")][::-1]
        for y, subset in enumerate(rows):
            for offset, (system, colour, marker) in zip((0.13, -0.13), pair(results)):
                mean, deviation = results.values["fixed", subset, metric, system]
                ax.errorbar(
                    float(mean), y + offset, xerr=float(deviation), color=colour, marker=marker, markersize=4.5,
                    linewidth=1.5, label=ROWS[system] if not y else None,
                )  # fmt: skip
            constant = float(results.values["fixed", subset, metric, "constant"][0])
            ax.plot([constant] * 2, [y - 0.35, y + 0.35], color=GREY, linewidth=1.5,
                    label="constant baseline" if not y else None)  # fmt: skip
        ax.set_yticks(range(len(rows)), [row.replace("+", " + ") for row in rows])
        better = "higher" if metric in HIGHER_IS_BETTER else "lower"
        ax.set(title=title.replace("\n", ", "), xlabel=f"{LABELS[metric]} ({better} is better)")
        ax.grid(axis="x", color=LIGHT, linewidth=0.5)
    axes[0].legend(frameon=False, loc="upper center", ncols=3, bbox_to_anchor=(0.5, 1.32))
    return figure


def coverage() -> Figure:
    """The share of labels in the 90 % intervals and sets, for each subset; the nominal level is a line."""
    figure, axes = plt.subplots(1, 3, figsize=(8, 2.9))
    for ax, name in zip(axes, BY_SUBSET):
        results = read_results(name)
        rows = [s for s in results.settings("fixed") if not s.startswith("average")][::-1]
        ax.axvline(90, color=GREEN, linewidth=1.2)
        for y, subset in enumerate(rows):
            for offset, (system, colour, marker) in zip((0.02 * len(rows), -0.02 * len(rows)), pair(results)):
                mean, deviation = results.values["fixed", subset, "coverage", system]
                ax.errorbar(float(mean), y + offset, xerr=float(deviation), color=colour, marker=marker, markersize=4)
        short = {"language": "L", "vision": "V", "audio": "A"}
        ax.set_yticks(range(len(rows)), ["+".join(short[m] for m in row.split("+")) for row in rows])
        ax.set(title=SUMMARY[name][1], xlabel="coverage, %", xlim=(72, 100))
    figure.suptitle(
        "Coverage of the 90 % intervals (MOSI) and sets (RAVDESS): context and members ●, late fusion ■", fontsize=10
    )
    return figure


def quality() -> Figure:
    """Closeness to exact conditional draws over evaluations of the network: a panel for each measure."""
    with (FOLDER / "quality-solvers.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == "fast"]
    panels = {
        "sliced W2": (0.3, 3),
        "energy unbiased": (0.0008, 3),
        "mean error": (0.008, 1),
        "variance ratio": (0.08, 10),
    }
    solvers = {
        "dpmpp_2m": ("DPM-Solver++(2M)", BLUE, "o"),
        "heun": ("Heun", ORANGE, "s"),
        "euler_maruyama": ("Euler-Maruyama", GREEN, "^"),
    }
    exact = next(row for row in rows if row["solver"] == "exact draws")
    figure, axes = plt.subplots(2, 2, figsize=(8, 5), sharex=True)
    for ax, (measure, limits) in zip(axes.flat, panels.items()):
        ax.axhline(float(exact[measure]), color=GREY, linewidth=1, linestyle="--", label="exact draws")
        for solver, (words, colour, marker) in solvers.items():
            points = [(int(r["evaluations"]), float(r[measure])) for r in rows if r["solver"] == solver]
            ax.plot(*zip(*points), color=colour, marker=marker, markersize=4, linewidth=1.4, label=words)
        ax.set(title=measure.replace(" unb", ", unb"), xscale="log", yscale="log", ylim=limits)
        ax.set_xticks([1, 2, 4, 8, 20, 100, 500], ["1", "2", "4", "8", "20", "100", "500"])
        ax.minorticks_off()
    for ax in axes[1]:
        ax.set_xlabel("evaluations of the network")
    axes[0, 0].legend(frameon=False)
    figure.suptitle("fast: recoveries compared with exact conditional draws (dashed)", fontsize=10)
    return figure


def main(folder: Path = FOLDER) -> None:
    """Draw every picture."""
    plt.rcParams.update(STYLE)
    pictures = {"summary": summary(), "subsets": subsets(), "coverage": coverage()}
    for name in names():
        if (results := read_results(name)).from_plain:
            metric = results.main_metric()
            pictures[f"{name}-{metric}-differences"] = from_plain(results, metric)
    pictures["../quality"] = quality()
    for name, figure in pictures.items():
        figure.savefig(folder / f"{name}.png", metadata={"Software": None})
        plt.close(figure)


if __name__ == "__main__":
    main()
