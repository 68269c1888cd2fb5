"""A benchmark's results: metrics over the missing rate and over subsets, as differences from the baseline with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from imder.benchmarking.significance import interval_text
from imder.evaluation.difference_plot import MOST_LINES, difference_lines
from imder.evaluation.formatting import metric_info
from imder.metrics import names_of
from imder.report.benchmark_files import BenchmarkFiles, averages_of
from imder.report.content import DataTable, Exhibit, Section
from imder.report.difference_figures import average_figure, rate_figure, subset_figure
from imder.report.tables import differences_table, shown_metrics, values_table

Row = dict[str, Any]

PAIRED = (
    "Both systems are evaluated on the same masks and the same resampled dialogues, speakers or samples (paired bootstrap); "
    "the interval covers 95 % and isn't corrected for several comparisons."
)


def rate_section(files: BenchmarkFiles, summary: Sequence[Row], means: Sequence[Row], protocol: str) -> Section:
    """Metrics over the missing rate under a protocol that has rates."""
    rows = _of(files.differences, protocol)
    exhibits = average_exhibits(files, protocol)
    for metric in names_of(files.plan.shared.convention, "main"):
        mine = [row for row in rows if row["metric"] == metric and row["rate"] is not None]
        lines = {m: x for m, x in difference_lines(mine, protocol).items() if m not in files.ensembled}
        if lines:
            label = metric_info(metric).label
            best = f", the best {MOST_LINES} of {len(lines)} systems" if len(lines) > MOST_LINES else ""
            exhibits.append(
                Exhibit(
                    f"{protocol}-{metric}-over-rate",
                    f"{label} over the missing rate: difference from {files.baseline}{best}",
                    f"Each panel shows one system in blue, the others in grey, and {files.baseline} as the line at 0. "
                    "Where the band of the 95 % interval leaves 0 behind, the difference at that rate is unlikely to be "
                    "chance.",
                    rate_figure(lines, metric),
                )
            )
    return Section(
        f"Missing rate ({protocol} protocol)",
        (_introduction(files, protocol),),
        exhibits=tuple(exhibits),
        tables=_tables(files, summary, means, protocol, "missing rate"),
    )


def subset_section(files: BenchmarkFiles, summary: Sequence[Row], means: Sequence[Row], protocol: str) -> Section:
    """Metrics for every subset of the modalities, or under the natural protocol."""
    rows = [row for row in _of(files.differences, protocol) if not row["available"].startswith("average")]
    exhibits = average_exhibits(files, protocol)
    short = short_names([row["available"] for row in _of(summary, protocol) if row["available"]])
    for metric in names_of(files.plan.shared.convention, "main"):
        mine = [r for r in rows if r["metric"] == metric and r["model"] not in files.ensembled and r["available"]]
        if mine:
            label, count = metric_info(metric).label, len({row["model"] for row in mine})
            best = f", the best {MOST_LINES} of {count} systems" if count > MOST_LINES else ""
            exhibits.append(
                Exhibit(
                    f"{protocol}-{metric}-by-subset",
                    f"{label} by available modalities: difference from {files.baseline}{best}",
                    f"Each line is a subset of the modalities that the systems may use ({legend(short)}). Blue is better "
                    f"than {files.baseline}, orange worse; grey squares mark intervals that hold 0.",
                    subset_figure(mine, short),
                )
            )
    title = "Subsets of the modalities" if short else "As the corpus is"
    return Section(
        f"{title} ({protocol} protocol)",
        (_introduction(files, protocol),),
        exhibits=tuple(exhibits),
        tables=_tables(files, summary, means, protocol, "available"),
    )


def average_exhibits(files: BenchmarkFiles, protocol: str) -> list[Exhibit]:
    """For each metric of comparison the systems' differences from the baseline on average."""
    rows = averages_of(_of(files.differences, protocol))
    exhibits = []
    for metric in names_of(files.plan.shared.convention, "comparison"):
        mine = [row for row in rows if row["metric"] == metric]
        if mine:
            setting = f", {mine[0]['available']}" if mine[0]["available"] else ""
            exhibits.append(
                Exhibit(
                    f"{protocol}-{metric}-difference",
                    f"{metric_info(metric).label}: difference from {files.baseline}{setting}",
                    f"Dots are differences and lines their 95 % intervals; {files.baseline} is the line at 0. Blue is "
                    "better, orange worse; grey squares mark intervals that hold 0: these systems can't be told apart.",
                    average_figure(mine),
                )
            )
    return exhibits


def _introduction(files: BenchmarkFiles, protocol: str) -> str:
    draws = files.plan.shared.draws
    texts = {
        "random": f"At each rate, that share of the test samples' modalities is hidden at random, {draws} times; every sample "
        "keeps one. ",
        "official": f"Modalities are hidden in the batches of the released code's schedule, {draws} times for each rate. ",
        "fixed": "All samples have the same modalities; the others are hidden. ",
        "natural": "Nothing is hidden: only what the corpus lacks is missing. ",
    }
    return texts.get(protocol, "") + (
        PAIRED if files.differences else "One system was measured, so there are no differences."
    )


def _tables(
    files: BenchmarkFiles, summary: Sequence[Row], means: Sequence[Row], protocol: str, setting: str
) -> tuple[DataTable, ...]:
    rows = [*_of(means, protocol), *_of(summary, protocol)]
    values = DataTable(
        "Means over seeds and draws of the masks, ± the standard deviation of one draw of one training. Click on a header to "
        "sort.",
        values_table(f"All metrics, {protocol} protocol", rows, setting, shown_metrics(rows)),
        folded=True,
    )
    compared = _of(files.differences, protocol)
    if not compared:
        return (values,)
    differences = DataTable(
        f"Difference from {files.baseline} and its 95 % interval; bold where the system is better and the interval without 0.",
        differences_table(f"Differences from {files.baseline}, {protocol} protocol", compared, setting),
        folded=True,
    )
    return differences, values


def short_names(subsets: Sequence[str]) -> dict[str, str]:
    """For each subset a short label: initials where they differ.

    >>> short_names(["language", "language+audio", "language"])
    {'language': 'L', 'language+audio': 'L+A'}
    """
    names = list(dict.fromkeys(name for subset in subsets for name in subset.split("+")))
    initials = {name: name[:1].upper() for name in names}
    if len(set(initials.values())) < len(names):
        return {subset: subset for subset in subsets}
    return {subset: "+".join(initials[name] for name in subset.split("+")) for subset in subsets}


def legend(short: dict[str, str]) -> str:
    """What short labels mean.

    >>> legend({"language": "L", "language+audio": "L+A"})
    'L language, A audio'
    """
    pairs = {
        s: name for subset, label in short.items() for s, name in zip(label.split("+"), subset.split("+"), strict=True)
    }
    return ", ".join(f"{label} {name}" if label != name else name for label, name in pairs.items())


def best_sentence(files: BenchmarkFiles, protocol: str) -> str:
    """Which systems are better than the baseline on average under a protocol, in one sentence; empty without differences."""
    metric = names_of(files.plan.shared.convention, "main")[0]
    rows = [row for row in averages_of(_of(files.differences, protocol)) if row["metric"] == metric]
    rows = [row for row in rows if row["model"] not in files.ensembled]
    if not rows:
        return ""
    label, unit = metric_info(metric).label, " points" if metric_info(metric).share else ""
    better = [row for row in rows if interval_text(row)[1]]
    if not better:
        return f"{protocol} protocol: no system is better than {files.baseline} in {label} with an interval without 0."
    sign = 1 if metric_info(metric).higher_is_better else -1
    best = max(better, key=lambda row: sign * float(row["difference"]))
    others = f"; {len(better)} of {len(rows)} systems are better" if len(rows) > 1 else ""
    return (
        f"{protocol} protocol: {best['model']} differs most from {files.baseline} for the better, {label} "
        f"{interval_text(best)[0]}{unit} on average{others}."
    )


def _of(rows: Sequence[Row], protocol: str) -> list[Row]:
    return [row for row in rows if row["protocol"] == protocol]
