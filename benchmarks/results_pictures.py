"""Draw the pictures of ``docs/results.md`` from the CSV files in ``docs/results``.

python benchmarks/results_pictures.py
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from results_data import FOLDER, HIGHER_IS_BETTER, LABELS, PLAIN, Results, names, read_results

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
PAIR = (("imder", BLUE, "o"), ("late-fusion", ORANGE, "s"))
SUMMARY = {
    "mosi_standard": ("mae", "CMU-MOSI\nstandard split", 0.05),
    "mosi_complete": ("mae", "CMU-MOSI\ncomplete clips", 0.05),
    "ravdess_av": ("accuracy", "RAVDESS\n6 speakers", 4.0),
    "ravdess_av-folds": ("accuracy", "RAVDESS\n24 speakers*", 4.0),
}
ROWS = {
    "constant": "constant baseline",
    "gcnet": "GCNet",
    "mult": "MulT, zeros",
    "mmin": "MMIN",
    "ridge": "ridge by pattern",
    "language-only": "language only",
    "zero-fill": "zero-fill",
    "late-fusion": "late fusion",
    "imder:unconditional": "unconditional recovery",
    "imder:mean": "recovery by the mean",
    "regression": "recovery by regression",
    "3 late-fusion": "late fusion, 3 trainings",
    "2 late-fusion": "late fusion, 2 trainings",
    "3 imder": "IMDer, 3 trainings",
    "2 imder": "IMDer, 2 trainings",
}


def summary() -> Figure:
    """IMDer's gain over each system on average over missing rates, with 95 % intervals: one panel for each corpus."""
    order = [name for name in ROWS if name not in ("constant", "2 late-fusion", "2 imder")]
    figure, axes = plt.subplots(1, 4, figsize=(8, 4.2), sharey=True)
    for ax, (name, (metric, title, limit)) in zip(axes, SUMMARY.items()):
        results = read_results(name)
        ax.axvline(0, color=GREY, linewidth=0.8)
        for y, system in enumerate(order):
            one = system if ("random", "average", metric, system) in results.differences else system.replace("3 ", "2 ")
            if (gain := results.gain("random", "average", metric, one)) is not None:
                interval(ax, y, gain, limit)
            else:
                ax.text(
                    0,
                    y,
                    "not run",
                    ha="center",
                    va="center",
                    color=GREY,
                    fontsize=7.5,
                    bbox={"color": "white", "pad": 1},
                )
        ax.set(title=title, xlim=(-1.12 * limit, 1.12 * limit), ylim=(-0.6, len(order) - 0.4))
        ax.set_xlabel("MAE" if metric == "mae" else "accuracy, points")
        ax.axhline(order.index("3 late-fusion") - 0.5, color=LIGHT, linewidth=0.8)
        ax.axhline(order.index("imder:unconditional") - 0.5, color=LIGHT, linewidth=0.8)
    axes[0].set_yticks(range(len(order)), [ROWS[name] for name in order])
    figure.suptitle("IMDer's gain, average over missing rates: right of 0, IMDer is better", fontsize=10)
    figure.supxlabel(
        "Bars: 95 % intervals; coloured: 0 is outside.   * 2 trainings, not 3, in these averages", fontsize=8
    )
    return figure


def interval(ax: Any, y: float, gain: tuple[float, float, float], limit: float) -> None:
    """A dot with its interval; beyond the axis, an arrow with the number."""
    middle, low, high = gain
    colour = BLUE if low > 0 else ORANGE if high < 0 else GREY
    if abs(middle) > limit:
        side = 1 if middle > 0 else -1
        ax.annotate(
            "", (side * limit * 1.08, y), (side * limit * 0.82, y), arrowprops={"arrowstyle": "->", "color": colour}
        )
        text = f"{middle:+.2f}" if limit < 1 else f"{middle:+.0f}"
        ax.text(side * limit * 0.78, y, text, ha="right" if side > 0 else "left", va="center", color=colour, fontsize=8)
        return
    ax.plot([max(low, -1.1 * limit), min(high, 1.1 * limit)], [y, y], color=colour, linewidth=1.8)
    ax.plot(middle, y, "o", color=colour, markersize=4.5)


def curves(results: Results, metric: str) -> Figure:
    """A panel for each system: its metric over the missing rate beside IMDer's; bands are deviations."""
    systems = [s for s in results.systems() if s not in ("imder", "constant") and not s.startswith("2 ")]
    rates, shares = [], set()
    for rate, share in results.dropped.items():
        if share not in shares:
            rates.append((rate, float(share)))
            shares.add(share)
    columns = 4
    rows = -(-len(systems) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(8, 1.6 * rows + 0.5), sharex=True, sharey=True)
    for ax in axes.flat[len(systems) :]:
        ax.set_axis_off()
    for i, (ax, system) in enumerate(zip(axes.flat, systems)):
        if (("random", "average", metric, "constant")) in results.values:
            constant = float(results.values["random", "average", metric, "constant"][0])
            ax.axhline(constant, color=GREY, linewidth=0.8, linestyle=":")
        line(ax, results, metric, "imder", rates, GREY, dashed=True)
        line(ax, results, metric, system, rates, BLUE)
        ax.set_title(ROWS[system])
        if i >= len(systems) - columns:
            ax.set_xlabel("share of cells dropped")
            ax.tick_params(labelbottom=True)
    for row in axes:
        row[0].set_ylabel(LABELS[metric])
    better = "higher" if metric in HIGHER_IS_BETTER else "lower"
    figure.suptitle(
        f"{results.name}: a system (blue), IMDer (dashed), the constant baseline (dotted); {better} is better",
        fontsize=10,
    )
    return figure


def from_plain(results: Results, metric: str) -> Figure:
    """Differences from late fusion over the missing rate, with the bands of their intervals."""
    rows = [
        {"model": system, "rate": float(rate), "effective_rate": float(results.dropped[rate])}
        | dict(zip(("difference", "low", "high"), map(float, triple)))
        for (protocol, rate, m, system), triple in results.from_plain.items()
        if (protocol, m) == ("random", metric) and rate != "average" and not system[:1].isdigit()
    ]
    lines = difference_lines(rows, "random")
    shown = best_lines(lines, higher_is_better=metric in HIGHER_IS_BETTER)
    figure = difference_figure({ROWS.get(system, system): one for system, one in shown.items()}, ROWS[PLAIN])
    arrow = "↑" if metric in HIGHER_IS_BETTER else "↓"
    figure.supxlabel("share of cells dropped")
    figure.supylabel(f"difference in {LABELS[metric]} ({arrow} better)")
    count = f"; the best {len(shown)} of {len(lines)}" if len(lines) > len(shown) else ""
    figure.suptitle(f"{results.name}: difference from late fusion, bands: 95 % intervals{count}", fontsize=10)
    return figure


def line(
    ax: Any,
    results: Results,
    metric: str,
    system: str,
    rates: list[tuple[str, float]],
    colour: str,
    *,
    dashed: bool = False,
) -> None:
    """Means over rates with a band of one deviation."""
    pairs = [results.values["random", rate, metric, system] for rate, _ in rates]
    x = [share for _, share in rates]
    mean = [float(m) for m, _ in pairs]
    if not dashed:
        spread = [float(d or 0) for _, d in pairs]
        lower, upper = ([m + sign * s for m, s in zip(mean, spread)] for sign in (-1, 1))
        ax.fill_between(x, lower, upper, color=colour, alpha=0.18, linewidth=0)
    ax.plot(x, mean, color=colour, linewidth=1.6 if not dashed else 1.2, linestyle="--" if dashed else "-")


def subsets() -> Figure:
    """Metrics for each available subset: IMDer, late fusion and the constant baseline for each subset."""
    chosen = {k: v for k, v in SUMMARY.items() if k != "ravdess_av"}
    heights = [7, 7, 3]
    figure, axes = plt.subplots(3, 1, figsize=(7.2, 5.6), gridspec_kw={"height_ratios": heights})
    for ax, (name, (metric, title, _)) in zip(axes, chosen.items()):
        results = read_results(name)
        rows = [s for s in results.settings("fixed") if not s.startswith("average")][::-1]
        for y, subset in enumerate(rows):
            for offset, (system, colour, marker) in zip((0.13, -0.13), PAIR):
                mean, deviation = results.values["fixed", subset, metric, system]
                ax.errorbar(
                    float(mean), y + offset, xerr=float(deviation), color=colour, marker=marker, markersize=4.5,
                    linewidth=1.5, label=ROWS.get(system, "IMDer") if not y else None,
                )  # fmt: skip
            constant = float(results.values["fixed", subset, metric, "constant"][0])
            ax.plot([constant] * 2, [y - 0.35, y + 0.35], color=GREY, linewidth=1.5,
                    label="constant baseline" if not y else None)  # fmt: skip
        ax.set_yticks(range(len(rows)), [row.replace("+", " + ") for row in rows])
        better = "higher" if metric in HIGHER_IS_BETTER else "lower"
        ax.set(title=title.replace("\n", ", ").removesuffix("*"), xlabel=f"{LABELS[metric]} ({better} is better)")
        ax.grid(axis="x", color=LIGHT, linewidth=0.5)
    axes[0].legend(frameon=False, loc="upper center", ncols=3, bbox_to_anchor=(0.5, 1.32))
    return figure


def coverage() -> Figure:
    """The share of labels in the 90 % intervals and sets, for each subset; the nominal level is a line."""
    chosen = {k: v for k, v in SUMMARY.items() if k != "ravdess_av"}
    figure, axes = plt.subplots(1, 3, figsize=(8, 2.9))
    for ax, (name, (_, title, _)) in zip(axes, chosen.items()):
        results = read_results(name)
        rows = [s for s in results.settings("fixed") if not s.startswith("average")][::-1]
        ax.axvline(90, color=GREEN, linewidth=1.2)
        for y, subset in enumerate(rows):
            for offset, (system, colour, marker) in zip((0.02 * len(rows), -0.02 * len(rows)), PAIR):
                mean, deviation = results.values["fixed", subset, "coverage", system]
                ax.errorbar(float(mean), y + offset, xerr=float(deviation), color=colour, marker=marker, markersize=4)
        short = {"language": "L", "vision": "V", "audio": "A"}
        ax.set_yticks(range(len(rows)), ["+".join(short[m] for m in row.split("+")) for row in rows])
        ax.set(title=title.removesuffix("*"), xlabel="coverage, %", xlim=(72, 100))
    figure.suptitle("Coverage of the 90 % intervals (MOSI) and sets (RAVDESS): IMDer ●, late fusion ■", fontsize=10)
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
    for name in ("mosi_standard", "mosi_complete", "ravdess_av"):
        metric = SUMMARY[name][0]
        pictures[f"{name}-{metric}"] = curves(read_results(name), metric)
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
