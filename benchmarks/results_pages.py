"""Write a page of short tables for each benchmark in ``docs/results``, and the tables of ``docs/results.md``.

python benchmarks/results_pages.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from results_data import FOLDER, LABELS, PLAIN, Results, names, read_results
from results_overview import overview
from results_published import published
from results_tables import best_mean, equal_note, largest_losses, rate_differences, shares, shown_rates, table, value

UNCERTAINTY = (
    "coverage", "width", "set_size", "crps", "nll_calibrated", "ece_calibrated", "selective_mae", "selective_error",
)  # fmt: skip
ADDITIONS = (
    "For each system the largest loss from adding one available modality to a subset, on the clips that have it; above 0 the "
    "addition makes the metric worse. Bold: the interval lies above 0. The largest of several is above 0 by chance too."
)
SHARES = (
    "Cost ({metric}) of one modality less than everything, on the clips that have it; above 0 the metric gets worse. "
    "Bold: the interval lies above 0."
)
MOST_SYSTEMS = 6
"""Columns of a table of recovery: more don't fit a screen."""
RECOVERY = (
    "Recovery R² on the test split, each clip and neighbour with a random subset of its modalities: 1 is exact, 0 no better than "
    "the mean of the encodings. The weight that validation gave to the branch that reads recoveries, for each pattern of "
    "availability: at 0 nothing is recovered for a prediction."
)


def page(results: Results) -> str:
    """The whole page."""
    about = results.about
    averaged = f" `{about['seeds']} imder` averages the predictions of {about['seeds']} trainings."
    if f"{about['seeds']} imder" not in results.systems():
        averaged = (
            averaged.replace("imder", "late-fusion") if f"{about['seeds']} late-fusion" in results.systems() else ""
        )
    parts = [
        f"# {about['title']}",
        f"{about['corpus']}. What it means: [results](../results.md).",
        f"```bash\n{about['command']}\n```",
        f"{about['minutes']} minutes of one core. Means ± deviations over {about.get('over', str(about['seeds']) + ' seeds')} and, "
        f"for the random protocol, 10 mask draws. Bold: the best single system.{averaged} " + " ".join(about["notes"]),
        downloads(results),
    ]
    measured, compared = results.metrics(), results.compared_metrics()
    if results.settings("natural"):
        parts += [
            "## Natural protocol",
            "Every modality that a clip has is available.",
            natural(results, [m for m in measured if m not in UNCERTAINTY]),
        ]
    if results.settings("random"):
        parts += ["## Random protocol", rate_note(results)]
        for metric in compared:
            parts += [f"### {LABELS[metric]}", rates(results, metric)]
    if subsets := results.settings("fixed"):
        shown = [s for s in subsets if s != subsets[-2]]  # everything available is the random protocol's rate 0
        for metric in compared:
            parts += [f"## Fixed protocol: {LABELS[metric]}", by_subset(results, metric, shown)]
    if results.differences:
        parts += [
            f"## Differences from {results.reference}",
            f"System minus `{results.reference}`, random protocol, with the 95 % interval of a paired bootstrap over "
            f"{about['resampled']}. Bold: better than `{results.reference}`, the interval without 0.",
        ]
        for metric in compared:
            parts += [f"### Difference in {LABELS[metric]}", rate_differences(results, metric, results.differences)]
    if results.from_plain and results.reference != PLAIN:
        metric = results.main_metric()
        parts += [
            "## Differences from late fusion",
            f"![Difference in {LABELS[metric]} from late fusion over missing rates]({results.name}-{metric}-differences.png)",
            f"System minus `late-fusion` in {LABELS[metric]}, random protocol, with intervals as above. Bold: better than late "
            f"fusion, the interval without 0. {equal_note(results, metric)}".rstrip(),
            rate_differences(results, metric, results.from_plain),
        ]
    if results.additions:
        parts += ["## Never worse than less", ADDITIONS, largest_losses(results)]
        parts += [
            "## What losing a modality costs",
            SHARES.format(metric=LABELS[results.main_metric()]),
            shares(results),
        ]
    if recovered := recovery(results):
        parts += ["## Recovery", RECOVERY, *recovered]
    if kind := cluster_kind(results):
        parts += [f"## By {kind.removesuffix('s')}", by_cluster(results, compared)]
    if uncertain := [m for m in UNCERTAINTY if m in measured]:
        parts += [
            "## How sure the systems are",
            "Average over missing rates; the target coverage of intervals and sets is 90 %.",
            table(
                ["system", *(LABELS[m] for m in uncertain)],
                [[s, *(value(results, ("random", "average", m, s)) for m in uncertain)] for s in results.systems()],
            ),
        ]
    if seconds := {
        s: results.runs["training seconds", s][""] for s in results.systems() if ("training seconds", s) in results.runs
    }:
        rows = [[s, f"{mean} ± {deviation}" if deviation else mean] for s, (mean, deviation) in seconds.items()]
        parts += ["## Training time", table(["system", "seconds"], rows)]
    return "\n\n".join(parts) + "\n"


def recovery(results: Results) -> list[str]:
    """How much recoveries explain, and how much a prediction uses them: a column for each system that recovers."""
    tables = []
    for measure, head in (("recovery R^2", "recovered"), ("weight of recovery", "available")):
        measured = [s for s in results.systems() if (measure, s) in results.runs]
        for systems in (measured[i : i + MOST_SYSTEMS] for i in range(0, len(measured), MOST_SYSTEMS)):
            tables.append(recovery_table(results, measure, head, systems))
    return tables


def recovery_table(results: Results, measure: str, head: str, systems: Sequence[str]) -> str:
    """A row for each thing measured, a column for each system."""
    of = sorted(
        {name for s in systems for name in results.runs[measure, s]},
        key=lambda n: (n.split(" | ")[0].count("+"), n),
    )
    rows = [
        [
            name.replace(" | ", ", given "),
            *(" ± ".join(filter(None, results.runs[measure, s].get(name, ("–", "")))) for s in systems),
        ]
        for name in of
    ]
    return table([head, *(f"{s}, {measure.replace('R^2', 'R²')}" for s in systems)], rows)


def downloads(results: Results) -> str:
    """Links to the CSV files."""
    files = [("every value", f"{results.name}.csv"), ("every difference", f"{results.name}-differences.csv")]
    if results.additions:
        files.append(("every added modality", f"{results.name}-additions.csv"))
    if results.clusters:
        files.append(("agreement of speakers or videos", f"{results.name}-clusters.csv"))
    if results.runs:
        files.append(("seconds, recovery R² and weights", f"{results.name}-runs.csv"))
    return "All rates, subsets and metrics: " + ", ".join(f"[{words}]({file})" for words, file in files) + "."


def rate_note(results: Results) -> str:
    """The highest effective rate of this corpus."""
    if "0.7" in shown_rates(results):
        return "With three modalities at most two thirds of the cells can be dropped: .7 stands for 2/3."
    return "With two modalities at most half of the cells can be dropped: .5 is the highest rate."


def natural(results: Results, metrics: Sequence[str]) -> str:
    """A row for each system, a column for each metric."""
    best = {m: best_mean(results, "natural", "natural", m) for m in metrics}
    rows = [[s, *(value(results, ("natural", "natural", m, s), best[m]) for m in metrics)] for s in results.systems()]
    return table(["system", *(LABELS[m] for m in metrics)], rows)


def rates(results: Results, metric: str) -> str:
    """A row for each system, a column for each rate."""
    shown = shown_rates(results)
    best = {r: best_mean(results, "random", r, metric) for r in shown}
    rows = [[s, *(value(results, ("random", r, metric, s), best[r]) for r in shown)] for s in results.systems()]
    return table(["system", *("MR " + r if r != "average" else r for r in shown)], rows)


def by_subset(results: Results, metric: str, subsets: Sequence[str]) -> str:
    """A row for each system, a column for each set of available modalities."""
    best = {s: best_mean(results, "fixed", s, metric) for s in subsets}
    heads = [s.replace("average, incomplete", "average") for s in subsets]
    heads = [f"{h} (n = {results.samples[k]})" if (k := ("fixed", s)) in results.samples and few(results, s) else h
             for h, s in zip(heads, subsets)]  # fmt: skip
    rows = [[s, *(value(results, ("fixed", a, metric, s), best[a]) for a in subsets)] for s in results.systems()]
    return table(["system", *heads], rows)


def few(results: Results, subset: str) -> bool:
    """Whether a subset has fewer samples than another."""
    return results.samples[("fixed", subset)] != max(results.samples.values(), key=int)


def cluster_kind(results: Results) -> str:
    """The clusters of the test split: speakers or videos; empty where there is neither."""
    kinds = {entry[4] for entry in results.clusters.values()}
    return kinds.pop().replace("dialogues", "videos") if kinds else ""


def by_cluster(results: Results, metrics: Sequence[str]) -> str:
    """Mean and deviation of the differences over speakers or videos, and how many favour the system."""
    protocol = "random"
    rows = []
    for system in results.systems():
        entries = [results.clusters.get((protocol, m, system)) for m in metrics]
        if any(entries):
            rows.append([system, *(f"{e[0]} ± {e[1]}, better on {e[2]} of {e[3]}" if e else "–" for e in entries)])
    words = f"Difference from `{results.reference}` on each of the {cluster_kind(results)}, average over rates: mean ± deviation over them."
    return words + "\n\n" + table(["system", *(LABELS[m] for m in metrics)], rows)


def pages(folder: Path = FOLDER) -> dict[Path, str]:
    """Every file that this program writes, with its text."""
    whole = folder.parent / "results.md"
    made = overview(whole.read_text(encoding="utf-8"))
    tables = folder.parent / "tables.md"
    beside = published(tables.read_text(encoding="utf-8"))
    return {folder / f"{name}.md": page(read_results(name)) for name in names()} | {whole: made, tables: beside}


def main() -> None:
    """Write all pages."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
