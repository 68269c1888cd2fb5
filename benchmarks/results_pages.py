"""Write a page of short tables for each benchmark in ``docs/results``, and the summary on ``docs/results.md``.

python benchmarks/results_pages.py
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from results_data import FOLDER, HIGHER_IS_BETTER, LABELS, SYSTEMS, Results, names, read_results

SHOWN_RATES = ("0", "0.1", "0.3", "0.5", "0.7", "average")
REFERENCES = ("constant", "3 late-fusion", "3 imder", "2 late-fusion", "2 imder")
"""Not compared with the systems: the constant baseline, and averages over several trainings."""
UNCERTAINTY = (
    "coverage", "width", "set_size", "crps", "nll_calibrated", "ece_calibrated", "selective_mae", "selective_error",
)  # fmt: skip
SECONDS = {
    "imder": "54", "imder:unconditional": "46", "imder:mean": "46", "regression": "41", "late-fusion": "24", "zero-fill": "13",
    "language-only": "5", "ridge": "2", "mmin": "146", "mult": "62", "gcnet": "109", "3 late-fusion": "72", "3 imder": "162",
}  # fmt: skip
"""Seconds of one training and evaluation on ``mosi_complete``, one core."""
ADDITIONS = (
    "For each system the largest loss from adding one available modality to a subset, on the clips that have it; above 0 the "
    "addition makes the metric worse. Bold: the interval lies above 0. The largest of several is above 0 by chance too."
)
MARKS = re.compile(r"(<!-- summary:[^\n]*-->\n).*?(<!-- /summary -->)", re.DOTALL)


def page(results: Results) -> str:
    """The whole page."""
    about = results.about
    parts = [
        f"# {about['title']}",
        f"{about['corpus']}. What it means: [results](../results.md).",
        f"```bash\n{about['command']}\n```",
        f"{about['minutes']} minutes of one core. Means ± deviations over {about['seeds']} seeds and, for the random "
        f"protocol, 10 mask draws. Bold: the best single system. `{about['seeds']} imder` averages the predictions of "
        f"{about['seeds']} trainings. " + " ".join(about["notes"]),
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
            "## Differences from IMDer",
            "System minus `imder`, random protocol, with the 95 % interval of a paired bootstrap over "
            f"{about['resampled']}. Bold: better than IMDer, the interval without 0.",
        ]
        for metric in compared:
            parts += [f"### Difference in {LABELS[metric]}", rate_differences(results, metric)]
    if results.from_plain:
        metric = results.main_metric()
        parts += [
            "## Differences from late fusion",
            f"![Difference in {LABELS[metric]} from late fusion over missing rates]({results.name}-{metric}-differences.png)",
            f"System minus `late-fusion` in {LABELS[metric]}, random protocol, with intervals as above. Bold: better than late "
            "fusion, the interval without 0.",
            plain_differences(results, metric),
        ]
    if results.additions:
        parts += ["## Never worse than less", ADDITIONS, largest_losses(results)]
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
    return "\n\n".join(parts) + "\n"


def summary() -> str:
    """A row for each system: its average over rates on four corpora, and the seconds that it takes."""
    columns = {
        "mosi_standard": ("mae", "`mosi_standard`, MAE"),
        "mosi_complete": ("mae", "`mosi_complete`, MAE"),
        "ravdess_av": ("accuracy", "`ravdess_av`, accuracy, %"),
        "ravdess_av-folds": ("accuracy", "24 speakers, accuracy, %"),
    }
    read = {name: read_results(name) for name in columns}
    systems = [s for s in SYSTEMS if s in read["mosi_standard"].systems()]
    rows = []
    for system in systems:
        cells = []
        for name, (metric, _) in columns.items():
            key = ("random", "average", metric, system.replace("3 ", "2 ") if name == "ravdess_av-folds" else system)
            cells.append(value(read[name], key, best_mean(read[name], "random", "average", metric)))
        rows.append([f"`{system}`", *cells, SECONDS.get(system, "")])
    return table(["system", *(head for _, head in columns.values()), "seconds"], rows)


def downloads(results: Results) -> str:
    """Links to the CSV files."""
    files = [("every value", f"{results.name}.csv"), ("every difference", f"{results.name}-differences.csv")]
    if results.additions:
        files.append(("every added modality", f"{results.name}-additions.csv"))
    if results.clusters:
        files.append(("agreement of speakers or videos", f"{results.name}-clusters.csv"))
    return "All rates, subsets and metrics: " + ", ".join(f"[{words}]({file})" for words, file in files) + "."


def rate_note(results: Results) -> str:
    """The highest effective rate of this corpus."""
    if "0.7" in shown_rates(results):
        return "With three modalities at most two thirds of the cells can be dropped: .7 stands for 2/3."
    return "With two modalities at most half of the cells can be dropped: .5 is the highest rate."


def shown_rates(results: Results) -> list[str]:
    """A few rates, without those that drop no more than the one before, and the average."""
    measured = [rate for rate in SHOWN_RATES if rate in results.dropped or rate == "average"]
    return [rate for rate in measured if rate != "0.7" or float(results.dropped["0.7"]) > 0.501]


def value(results: Results, key: tuple[str, str, str, str], best: str = "") -> str:
    """Mean ± deviation; bold where it equals the best."""
    if key not in results.values:
        return "–"
    mean, deviation = results.values[key]
    text = f"{mean} ± {deviation}" if deviation else mean
    return f"**{text}**" if mean == best and key[3] not in REFERENCES else text


def best_mean(results: Results, protocol: str, setting: str, metric: str) -> str:
    """The best mean of the single systems, as text."""
    means = {
        s: results.values[key][0]
        for s in results.systems()
        if s not in REFERENCES and (key := (protocol, setting, metric, s)) in results.values
    }
    if not means:
        return ""
    return (max if metric in HIGHER_IS_BETTER else min)(means.values(), key=float)


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


def rate_differences(results: Results, metric: str) -> str:
    """A row for each system, a column for each of a few rates."""
    shown = [r for r in ("0", "0.3", "0.5", "0.7", "average") if r in shown_rates(results)]
    compared = [s for s in results.systems() if ("random", "average", metric, s) in results.differences]
    rows = [[s, *(difference(results, ("random", r, metric, s)) for r in shown)] for s in compared]
    return table(["system", *("MR " + r if r != "average" else r for r in shown)], rows)


def difference(results: Results, key: tuple[str, str, str, str]) -> str:
    """Difference and interval; bold where IMDer is worse."""
    if key not in results.differences:
        return "–"
    middle, low, high = results.differences[key]
    gain = results.gain(*key)
    text = f"{middle} ({low} to {high})"
    return f"**{text}**" if gain is not None and gain[2] < 0 else text


def plain_differences(results: Results, metric: str) -> str:
    """A row for each system, a column for each of a few rates: differences from late fusion."""
    shown = [r for r in ("0", "0.3", "0.5", "0.7", "average") if r in shown_rates(results)]
    compared = [s for s in results.systems() if ("random", "average", metric, s) in results.from_plain]
    rows = []
    for system in compared:
        cells = []
        for rate in shown:
            middle, low, high = results.from_plain["random", rate, metric, system]
            better = float(low) > 0 if metric in HIGHER_IS_BETTER else float(high) < 0
            text = f"{middle} ({low} to {high})"
            cells.append(f"**{text}**" if better else text)
        rows.append([system, *cells])
    return table(["system", *("MR " + r if r != "average" else r for r in shown)], rows)


def largest_losses(results: Results) -> str:
    """A row for each system: its worst addition of a modality, in each metric."""
    measured = [m for m in LABELS if any(m == metric for _, metric in results.additions)]
    rows = []
    for system in results.systems():
        cells = []
        for metric in measured:
            entries = results.additions.get((system, metric), [])
            if not entries:
                cells.append("–")
                continue
            loss, low, high, subset, added = max(entries, key=lambda entry: float(entry[0]))
            text = f"{loss} ({low} to {high})"
            cells.append(f"{f'**{text}**' if float(low) > 0 else text}, {added} to {subset}")
        if (system, measured[0]) in results.additions:
            rows.append([system, *cells])
    return table(["system", *(f"loss in {LABELS[m]}" for m in measured)], rows)


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
    words = f"Difference from `imder` on each of the {cluster_kind(results)}, average over rates: mean ± deviation over them."
    return words + "\n\n" + table(["system", *(LABELS[m] for m in metrics)], rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def pages(folder: Path = FOLDER) -> dict[Path, str]:
    """Every file that this program writes, with its text."""
    overview = folder.parent / "results.md"
    marked = MARKS.sub(lambda m: f"{m[1]}\n{summary()}\n\n{m[2]}", overview.read_text(encoding="utf-8"))
    return {folder / f"{name}.md": page(read_results(name)) for name in names()} | {overview: marked}


def main() -> None:
    """Write all pages."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
