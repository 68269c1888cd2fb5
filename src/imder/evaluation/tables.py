"""Tables of results: rows are missing rates (or available subsets), columns are systems times metrics.

A cell reads "81.2 ± 0.9": mean and standard deviation of `imder.evaluation.results.summarise`; shares in percent, errors,
correlations and likelihoods with three decimals; without ± where a single row gives no deviation; "–" where a metric is
undefined or a system doesn't have it. Bold are the cells that a caller names (those of significant differences) or else the
best system of each row and metric, and whatever reads the same; references (`REFERENCES`: the constant baseline, and the
optimum that only the generator of a synthetic corpus knows) don't compete. Notes on systems (`imder.models.base.Model.note`)
stand below.

`imder.evaluation.layout` makes a `Table` fit, `imder.evaluation.rendering` draws it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from imder.evaluation.curve import conditions, summaries
from imder.evaluation.formatting import format_value, metric_info
from imder.evaluation.layout import render_blocks
from imder.evaluation.rendering import Table
from imder.evaluation.results import metric_names
from imder.evaluation.uncertainty_metrics import names_of as uncertainty_names
from imder.metrics import names_of
from imder.missingness.protocols import PROTOCOLS
from imder.models.registry import system_note
from imder.types import ImderError, Task

if TYPE_CHECKING:
    from rich.console import Group

Summary = Sequence[Mapping[str, Any]]

BoldCell = tuple[str, float | None, str, str, str]
"""A cell that is bold: protocol, rate, available (of an average its name), metric, model."""

BOLD_KEYS = ("protocol", "rate", "available")
CONSTANT = "constant"
REFERENCES = (CONSTANT, "bayes")
"""Systems that are shown but never bold."""
_EFFECTIVE = (
    "eff. MR: the share of modalities that is missing; below the rate where each sample keeps one, above it where the "
    "corpus lacks some."
)


def default_metrics(summary: Summary) -> tuple[str, ...]:
    """The metrics that a table shows unless told otherwise."""
    names = metric_names(summary)
    return tuple(m for m in names_of(_convention(names), "table") if m in names) or tuple(names)


def _convention(names: Sequence[str]) -> str:
    """The convention that has such metrics."""
    return "classification" if "accuracy" in names else "sims" if "acc3" in names else "mosi"


def uncertainty_metrics(summary: Summary) -> tuple[str, ...]:
    """Metrics of a table of uncertainty (`imder.evaluation.uncertainty_metrics`); empty where no system is calibrated."""
    names = metric_names(summary)
    task: Task = "classification" if "set_size" in names else "regression"
    return tuple(m for m in uncertainty_names(task) if m in names)


def make_table(
    summary: Summary,
    protocol: str = "random",
    metrics: Sequence[str] | None = None,
    *,
    references: Sequence[str] = REFERENCES,
    averages: Summary = (),
    bold: Collection[BoldCell] | None = None,
) -> Table:
    """The table of one protocol.

    Args:
        summary: what `summarise` gives, for one corpus and split (others need a table of their own).
        protocol: which of its protocols.
        metrics: which metrics; None for `default_metrics`.
        references: systems that don't compete for bold; the constant baseline, and any that is the same in several rows,
            stands in a note instead.
        averages: of `imder.evaluation.results.averages`, with deviations; a system without any gets no average.
        bold: the cells that are bold; None for the best of each row.

    Returns:
        Rows in the order in which settings first appear, systems likewise. Where there are rates, the last rows hold their
        averages and areas (`imder.evaluation.curve`). A system that has the table to itself is named in the title alone.
        ``eff. MR`` is the share that is truly missing, shown where it isn't the rate in the row's name; ``n`` the samples
        served, shown where it varies; ``rec. weight`` the mean weight of the recovery branch, shown where one system recovers.

    Raises:
        ImderError: nothing of that protocol, a metric that isn't there, or several corpora or splits at once.
    """
    rows = [row for row in summary if row["protocol"] == protocol]
    if not rows:
        raise ImderError(f"there are no results of the {protocol} protocol")
    if len({(row["corpus"], row["split"]) for row in rows}) > 1:
        raise ImderError("results of several corpora or splits: make a table of each")
    metrics = tuple(metrics or default_metrics(rows))
    for metric in metrics:
        if metric not in metric_names(rows):
            raise ImderError(f"there is no metric {metric!r}; the results have {', '.join(metric_names(rows))}")
    every_model = list(dict.fromkeys(row["model"] for row in rows))
    by_setting: dict[tuple[Any, str], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        by_setting.setdefault((row["rate"], row["available"]), {})[row["model"]] = row
    members = list(by_setting.values())
    noted = _noted(members, [m for m in every_model if m in references], metrics)
    models = [m for m in every_model if m not in noted] or every_model
    recovering = {row["model"] for row in rows if "recovery_weight" in row}
    weighted = next(iter(recovering)) if len(recovering) == 1 else ""
    leads = [_lead(setting, systems, weighted) for setting, systems in by_setting.items()]
    cells = [_cells(systems, models, metrics, references, bold) for systems in members]
    rated = rows[0]["rate"] is not None
    last: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in averages:
        if row["protocol"] == protocol:
            last.setdefault(row["available"], {})[row["model"]] = row
    if rated and len(cells) > 1 and not averages:
        last = _summaries(members, models, metrics, protocol)
    for name, systems in last.items():
        leads.append((name, "", "", ""))
        cells.append(_cells(systems, models, metrics, references, bold))
    counts_modalities = PROTOCOLS[protocol].any_rate is None  # the share of frames that is missing is the rate
    off = rated and counts_modalities and any(abs(row["effective_rate"] - row["rate"]) > 0.005 for row in rows)
    used = (True, off, len({row["n"] for row in rows}) > 1, bool(weighted))
    first = "MR" if rated else "available" if rows[0]["available"] else "protocol"
    heads = tuple(h for h, u in zip((first, "eff.\nMR", "n", "rec.\nweight"), used, strict=True) if u)
    named = [tuple((t, False) for t, u in zip(lead, used, strict=True) if u) for lead in leads]
    everywhere = ", in every row" if len(members) > 1 else ""
    notes = [f"{m}{everywhere}: {text}." for m, text in noted.items() if m not in models]
    notes += _same_conditions(members, protocol)
    if any(name.startswith("average, ") for name in last) and any(row["rate"] == 1 for row in rows):
        notes += ("The average leaves out rate 1, where nothing is left, as in the papers; AUILC counts it.",)
    if off:
        notes.append(_EFFECTIVE)
    if weighted:
        notes.append(
            f"rec. weight: the weight of {weighted}'s recoveries in its predictions, on average; 0 where none is used."
        )
    notes += [f"{model}: {note}" for model in every_model if (note := system_note(model))]
    labels = [metric_info(m).label for m in metrics]
    alone = models[0] if len(models) == 1 else ""
    return Table(
        f"{alone and f'{alone} on '}{rows[0]['corpus']} [{rows[0]['split']}], {protocol} protocol",
        (*heads, *(label if alone else f"{model}\n{label}" for model in models for label in labels)),
        tuple((*s, *(cell for model in models for cell in c[model])) for s, c in zip(named, cells, strict=True)),
        notes=tuple(notes),
        lead=len(heads),
    )


def rich_table(
    summary: Summary,
    protocol: str = "random",
    metrics: Sequence[str] | None = None,
    *,
    references: Sequence[str] = REFERENCES,
    width: int | None = None,
) -> Group:
    """`make_table` for a terminal, in stacked blocks of columns that fit ``width`` characters."""
    return render_blocks(make_table(summary, protocol, metrics, references=references), width)


def _noted(
    settings: Sequence[Mapping[str, Mapping[str, Any]]], models: Sequence[str], metrics: Sequence[str]
) -> dict[str, str]:
    """The values, as text, of systems that need no column: the constant baseline, and those that are the same in every row.

    The constant baseline varies over rows only as far as they serve different samples; its text then has ranges.
    """
    texts = {}
    for model in models:
        shown = [
            tuple(format_value(m, float(systems[model].get(m, math.nan))) for m in metrics)
            for systems in settings
            if model in systems
        ]
        if len(shown) == len(settings) and (model == CONSTANT or 1 == len(set(shown)) < len(settings)):
            ranges = [_range(m, [float(systems[model].get(m, math.nan)) for systems in settings]) for m in metrics]
            texts[model] = ", ".join(f"{metric_info(m).label} {r}" for m, r in zip(metrics, ranges, strict=True))
    return texts


def _range(metric: str, values: Sequence[float]) -> str:
    """The least and the greatest of some values, nan left out, or the one that they all read as."""
    defined = [value for value in values if not math.isnan(value)] or [math.nan]
    ends = dict.fromkeys(format_value(metric, value) for value in (min(defined), max(defined)))
    return " to ".join(ends)


def paper_table(
    summary: Summary,
    averages: Summary = (),
    protocol: str = "random",
    *,
    references: Sequence[str] = REFERENCES,
    bold: Collection[BoldCell] | None = None,
) -> Table:
    """The layout of the field's papers: rows are settings and their average, a column for each system.

    A cell holds the metrics of `paper_metrics`, such as "ACC2 / F1 / ACC7".

    Args:
        summary: as in `make_table`.
        averages: what `imder.evaluation.results.averages` gives.
        protocol: which protocol.
        references: systems that don't compete for bold.
        bold: as in `make_table`.

    Raises:
        ImderError: as `make_table`.
    """
    shown = paper_metrics(summary)
    table = make_table(summary, protocol, shown, references=references, averages=averages, bold=bold)
    return replace(table, joined=len(shown))


def paper_metrics(summary: Summary) -> tuple[str, ...]:
    """The metrics of `paper_table`."""
    names = metric_names(summary)
    return tuple(m for m in names_of(_convention(names), "paper") if m in names) or default_metrics(summary)


def _lead(
    setting: tuple[Any, str], systems: Mapping[str, Mapping[str, Any]], weighted: str
) -> tuple[str, str, str, str]:
    """A row's name, effective rate, number of samples and weight of recoveries."""
    rate, available = setting
    row = next(iter(systems.values()))
    name = f"{rate:.2g}" if rate else "0" if rate == 0 else available or "natural"
    weight = systems[weighted]["recovery_weight"] if weighted in systems else math.nan
    return name, f"{row['effective_rate']:.3f}", f"{row['n']:.0f}", "–" if math.isnan(weight) else f"{weight:.2f}"


def _summaries(
    settings: Sequence[Mapping[str, Mapping[str, Any]]], models: Sequence[str], metrics: Sequence[str], protocol: str
) -> dict[str, dict[str, Mapping[str, Any]]]:
    """What sums up the settings (`imder.evaluation.curve`), of each system that has them all."""
    settings = sorted(settings, key=lambda systems: next(iter(systems.values()))["rate"])
    first = [next(iter(s.values())) for s in settings]
    rates, effective = ([row[key] for row in first] for key in ("rate", "effective_rate"))
    return {
        name: {
            model: {m: float(weights @ [s[model].get(m, math.nan) for s in settings]) for m in metrics}
            for model in models
            if all(model in s for s in settings)
        }
        for name, weights in summaries(protocol, rates, effective, sims="acc3" in first[0]).items()
    }


def _same_conditions(settings: Sequence[Mapping[str, Mapping[str, Any]]], protocol: str) -> tuple[str, ...]:
    """A note on each group of rates that are one condition."""
    rows = [next(iter(members.values())) for members in settings]
    groups = conditions(protocol, [row["effective_rate"] for row in rows])
    groups = [group for group in groups if len(group) > 1]
    names = [", ".join(f"{rows[i]['rate']:.2g}" for i in group) for group in groups]
    return tuple(
        f"Rates {name} are one condition, since each sample keeps a modality: {rows[group[0]]['effective_rate']:.3f} are "
        "dropped. Averages count it once; what differs are the draws."
        for name, group in zip(names, groups, strict=True)
    )


def _cells(
    members: Mapping[str, Mapping[str, Any]],
    models: Sequence[str],
    metrics: Sequence[str],
    references: Sequence[str],
    bold: Collection[BoldCell] | None,
) -> dict[str, list[tuple[str, bool]]]:
    """For each system its cells."""
    out: dict[str, list[tuple[str, bool]]] = {model: [] for model in models}
    for metric in metrics:
        means = {m: float(members[m].get(metric, math.nan)) for m in models if m in members}
        if bold is None:
            chosen = _best(metric, {m: v for m, v in means.items() if m not in references})
        else:
            chosen = {m for m in means if (*(members[m].get(k) for k in BOLD_KEYS), metric, m) in bold}
        for model in models:
            sd = float(members[model].get(f"{metric}_sd", math.nan)) if model in means else math.nan
            text = format_value(metric, means.get(model, math.nan), sd)
            out[model].append((text, model in chosen))
    return out


def _best(metric: str, means: Mapping[str, float]) -> set[str]:
    """The systems of the best value and those that read the same; none without a competitor."""
    shown = {m: format_value(metric, value) for m, value in means.items() if not math.isnan(value)}
    higher_is_better = metric_info(metric).higher_is_better
    if len(shown) < 2 or higher_is_better is None:
        return set()
    best = shown[max(shown, key=lambda m: means[m] if higher_is_better else -means[m])]
    return {m for m, text in shown.items() if text == best}
