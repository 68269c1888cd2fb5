"""Results over the missing rate and over subsets, as differences from the baseline with intervals."""

from __future__ import annotations

from typing import Any

from imder.benchmarking.p_values import significance_note
from imder.benchmarking.significance import interval_text
from imder.calibration.describe import LEVEL
from imder.evaluation.difference_plot import MOST_LINES, difference_lines
from imder.evaluation.formatting import metric_info
from imder.evaluation.plots import COLOURS, rate_lines
from imder.metrics import names_of
from imder.missingness.protocols import PROTOCOLS
from imder.report.content import DataTable, Exhibit, Section
from imder.report.difference_figures import average_figure, rate_figure, subset_figure
from imder.report.results import Results, averages_of, legend, of_protocol
from imder.report.tables import differences_table, shown_metrics, values_table
from imder.report.value_figures import value_figure

Row = dict[str, Any]

PAIRED = "Systems are compared on the same masks and the same resampled test samples (paired bootstrap{}); intervals cover 95 %."
TOLD_APART = "Blue is better, orange worse; where the interval holds 0 (a grey square), the two can't be told apart."


def missing_sections(results: Results) -> list[Section]:
    """A section for each protocol."""
    return [
        (_rate_section if PROTOCOLS[protocol].has_rates else _subset_section)(results, protocol)
        for protocol in results.protocols
    ]


def _rate_section(results: Results, protocol: str) -> Section:
    """Metrics over the missing rate under a protocol that has rates."""
    rows = of_protocol(results.differences, protocol)
    exhibits = _average_exhibits(results, protocol)
    for metric in names_of(results.convention, "main"):
        label = metric_info(metric).label
        mine = [row for row in rows if row["metric"] == metric and row["rate"] is not None]
        lines = {m: x for m, x in difference_lines(mine, protocol).items() if m not in results.ensembled}
        if lines:
            best = f", the best {MOST_LINES} of {len(lines)} systems" if len(lines) > MOST_LINES else ""
            others = "one system in blue, the others in grey" if len(lines) > 1 else "the system"
            exhibits.append(
                Exhibit(
                    f"{protocol}-{metric}-over-rate",
                    f"{label} over the missing rate: difference from {results.baseline}{best}",
                    f"Each panel shows {others}, and {results.baseline} as the line at 0. Where the band of the 95 % interval "
                    "leaves out 0, the difference at that rate is unlikely to be chance.",
                    rate_figure(lines, metric),
                )
            )
        if len({row["model"] for row in rows}) < len(COLOURS):  # of more, differences say more than as many lines
            exhibits += value_exhibits(results, protocol, metric)
    return Section(
        f"Missing rate ({protocol} protocol)",
        (_introduction(results, protocol),),
        exhibits=tuple(exhibits),
        tables=_tables(results, protocol, "missing rate"),
    )


def value_exhibits(results: Results, protocol: str, metric: str) -> list[Exhibit]:
    """The metric itself over the missing rate; none where no system has it at two rates."""
    rows = [
        row for row in of_protocol(results.rows, protocol) if row["rate"] is not None and row.get(metric) is not None
    ]
    lines = {m: x for m, x in rate_lines(rows, metric, protocol).items() if len(x[0]) > 1} if rows else {}
    lines = {model: line for model, line in lines.items() if model not in results.ensembled}
    if not lines.keys() - set(results.references):
        return []
    few = len(lines.keys() - set(results.references)) <= len(COLOURS)
    dashed = "; dashed lines are references" if lines.keys() & set(results.references) else ""
    promise = f" The line at {100 * LEVEL:g} % is the promise." if metric == "coverage" else ""
    words = (
        f"Lines are means over trainings and draws of the masks{dashed}. The band is one standard deviation of one draw of one "
        "training."
        if few
        else "Each line spans a system's means at all missing rates, and the dot is their average."
    )
    return [
        Exhibit(
            f"{protocol}-{metric}",
            f"{metric_info(metric).label} over the missing rate",
            words + (promise or ("" if few else " The tables have the value at each rate.")),
            value_figure(lines, metric, results.references),
        )
    ]


def _subset_section(results: Results, protocol: str) -> Section:
    """Metrics for every subset of the modalities, or under the natural protocol."""
    rows = [row for row in of_protocol(results.differences, protocol) if not row["available"].startswith("average")]
    exhibits = _average_exhibits(results, protocol)
    for metric in names_of(results.convention, "main"):
        mine = [r for r in rows if r["metric"] == metric and r["model"] not in results.ensembled and r["available"]]
        if mine:
            label, count = metric_info(metric).label, len({row["model"] for row in mine})
            best = f", the best {MOST_LINES} of {count} systems" if count > MOST_LINES else ""
            exhibits.append(
                Exhibit(
                    f"{protocol}-{metric}-by-subset",
                    f"{label} by available modalities: difference from {results.baseline}{best}",
                    f"Each line is a subset of the modalities that may be used ({legend(results.short)}), with its 95 % "
                    f"interval. {TOLD_APART}",
                    subset_figure(mine, results.short),
                )
            )
    title = (
        "Subsets of the modalities"
        if any(r["available"] for r in of_protocol(results.rows, protocol))
        else "Nothing hidden"
    )
    return Section(
        f"{title} ({protocol} protocol)",
        (_introduction(results, protocol),),
        exhibits=tuple(exhibits),
        tables=_tables(results, protocol, "available"),
    )


def _average_exhibits(results: Results, protocol: str) -> list[Exhibit]:
    """For each metric of comparison the differences on average, or in the only setting; none for one system's average."""
    rows = averages_of(of_protocol(results.differences, protocol))
    exhibits = []
    for metric in names_of(results.convention, "comparison"):
        sign = -1 if metric_info(metric).higher_is_better else 1
        mine = sorted((row for row in rows if row["metric"] == metric), key=lambda row: sign * row["difference"])
        if len(mine) > 1 or (mine and not mine[0]["available"]):
            setting = f", {mine[0]['available']}" if mine[0]["available"] else ""
            exhibits.append(
                Exhibit(
                    f"{protocol}-{metric}-difference",
                    f"{metric_info(metric).label}: difference from {results.baseline}{setting}",
                    f"Dots are differences from {results.baseline} and lines their 95 % intervals, the best on top. {TOLD_APART}",
                    average_figure(mine),
                )
            )
    return exhibits


def _introduction(results: Results, protocol: str) -> str:
    often = f", {results.draws} times"
    texts = {
        "random": f"At each rate, that share of the test samples' modalities is hidden at random, {results.draws} times; every "
        "sample keeps one. ",
        "official": f"Modalities are hidden in the batches of the released code's schedule, {results.draws} times a rate. ",
        "fixed": "All samples have the same modalities; the others are hidden. ",
        "natural": "Nothing is hidden: only what the corpus lacks is missing. ",
        "independent": "Each modality of each sample is hidden with that probability, independently"
        f"{often}; every sample keeps one. ",
        "bursts": f"A modality is gone for several neighbouring clips of a dialogue, with that probability in each{often}. ",
        "label": f"Modalities are hidden at random, more often under some labels than under others{often}. ",
        "intensity": f"Each modality is hidden at random, more often where it is weak{often}. ",
        "frames": f"That share of the steps of every modality is erased at random{often}; no modality is missing as a whole. ",
        "mixed": f"Whole modalities are hidden, and steps of the others erased, both at that rate{often}. ",
    }
    of = f" of {results.resampling}" if results.resampling else ""
    paired = PAIRED.format(of) if results.differences else "One system was measured, so there are no differences."
    return texts.get(protocol, "") + paired


def _tables(results: Results, protocol: str, setting: str) -> tuple[DataTable, ...]:
    rows = [*of_protocol(results.means, protocol), *of_protocol(results.summary, protocol)]
    values = DataTable(
        "Means over trainings and draws of the masks, ± the standard deviation of one draw of one training; shares in percent.",
        values_table(f"All metrics, {protocol} protocol", rows, setting, shown_metrics(rows)),
        folded=True,
    )
    compared = of_protocol(results.differences, protocol)
    if not compared:
        return (values,)
    differences = DataTable(
        f"Difference from {results.baseline} and its 95 % interval; bold where the system is better, "
        f"{significance_note(compared, 'systems, settings and metrics')}. Each interval holds for one difference.",
        differences_table(f"Differences from {results.baseline}, {protocol} protocol", compared, setting),
        folded=True,
    )
    return differences, values


def best_sentence(results: Results, protocol: str) -> str:
    """Which systems are better than the baseline on average under a protocol; empty without differences."""
    metric = names_of(results.convention, "main")[0]
    rows = [row for row in averages_of(of_protocol(results.differences, protocol)) if row["metric"] == metric]
    rows = [row for row in rows if row["model"] not in results.ensembled]
    if not rows:
        return ""
    info = metric_info(metric)
    name, unit = f"{protocol.capitalize()} protocol, average {info.label}:", " points" if info.share else ""
    if len(rows) == 1:
        return f"{name} {rows[0]['model']} {interval_text(rows[0])[0]}{unit} from {results.baseline} (95 % interval)."
    better = [row for row in rows if interval_text(row)[1]]
    if not better:
        return f"{name} no system is significantly better than {results.baseline}."
    sign = 1 if info.higher_is_better else -1
    best = max(better, key=lambda row: sign * float(row["difference"]))
    return (
        f"{name} {len(better)} of {len(rows)} systems are significantly better than {results.baseline}; the largest difference "
        f"is that of {best['model']}, {interval_text(best)[0]}{unit} (95 % interval)."
    )
