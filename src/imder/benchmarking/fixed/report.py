"""Tables of a comparison of fillers: metrics of each system, and differences from a reference with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imder import metrics
from imder.benchmarking.bootstrap import interval
from imder.benchmarking.fixed.builtin import MODELS
from imder.benchmarking.fixed.fillers import FILLERS
from imder.benchmarking.fixed.folder import Cell, FixedFolder
from imder.benchmarking.fixed.plan import CEILING, COMPLETE, FixedPlan, incomplete_patterns
from imder.benchmarking.fixed.results import CRPS, Measured, System, TestClips, measure, scored_clips
from imder.benchmarking.folds import rotation_groups
from imder.benchmarking.significance import interval_text
from imder.data.corpus import Corpus
from imder.evaluation.formatting import format_value, metric_info
from imder.evaluation.layout import markdown_blocks
from imder.evaluation.rendering import Table, render_latex
from imder.evaluation.results import write_csv
from imder.jobs.files import atomic_write
from imder.types import ImderError, Spec

IMPUTER, REFERENCE_DRAWS = "imputer", 16
Row = dict[str, Any]


@dataclass(frozen=True)
class FixedReport:
    """What `write_report` made.

    Attributes:
        rows: metrics, a row for each model, system, pattern and metric.
        differences: from the reference, with 95 % intervals.
        tables: for each model its metrics and its differences.
        files: names of the files written.
        reasons: for each cell without predictions, why.
        failed: those of them that an error stopped.
    """

    rows: list[Row]
    differences: list[Row]
    tables: tuple[Table, ...]
    files: tuple[str, ...]
    reasons: dict[str, str]
    failed: dict[str, str]


def write_report(
    folder: FixedFolder, corpus: Corpus, plan: FixedPlan, *, resamples: int, reference: str | None = None
) -> FixedReport:
    """Write ``results.csv``, ``significance.csv``, ``tables.md`` and ``tables.tex``.

    Args:
        folder: of the comparison.
        corpus: the whole corpus.
        plan: the whole plan.
        resamples: number of bootstrap resamples.
        reference: the filler that others are compared with, at `REFERENCE_DRAWS` or else its largest number of draws; None
            for the imputer, else the last filler of the plan that draws, else the last one.

    Raises:
        ImderError: no cell is finished, or the reference isn't.
    """
    clips = scored_clips(corpus, plan)
    measured = measure(folder, corpus, plan, clips, resamples)
    if not measured.values:
        reasons = "; ".join(f"{cell}: {reason}" for cell, reason in measured.reasons.items())
        raise ImderError(f"{folder.path}: no cell is finished; {reasons}")
    chosen = _reference(plan, measured, reference)
    rows, differences = _rows(corpus.spec, measured, clips), _differences(corpus.spec, measured, chosen)
    notes = _notes(folder, corpus, plan, measured, clips)
    tables: list[Table] = []
    for model in plan.models:
        if any(key[0] == model for key in measured.values):
            tables.append(_metric_table(corpus.spec, plan, measured, model, notes))
            note = f"Paired bootstrap, {clips.resampling(resamples)}. Bold: better, the interval without 0."
            if model in {row["model"] for row in differences}:
                tables.append(_difference_table(corpus.spec, plan, differences, model, chosen, note))
    files = ["results.csv", "tables.md", "tables.tex"]
    write_csv(rows, folder.path / "results.csv")
    if differences:
        write_csv(differences, folder.path / "significance.csv")
        files.append("significance.csv")
    _write(folder, "tables.md", "\n".join(f"## {table.title}\n\n{markdown_blocks(table)}" for table in tables))
    _write(folder, "tables.tex", "\n".join(["% \\usepackage{booktabs,adjustbox}\n", *map(render_latex, tables)]))
    return FixedReport(rows, differences, tuple(tables), tuple(files), measured.reasons, measured.failed)


def table_metrics(plan: FixedPlan) -> tuple[str, ...]:
    """The metrics of the tables: accuracy and NLL, or MAE, correlation and CRPS."""
    return ("accuracy", "nll") if plan.settings.convention == "classification" else ("mae", "corr", CRPS)


def _reference(plan: FixedPlan, measured: Measured, name: str | None) -> System:
    """The system that the others are compared with.

    Raises:
        ImderError: it isn't there.
    """
    systems = list(dict.fromkeys(system for _, system, _ in measured.values))
    if name is None and any(system.filler == IMPUTER for system in systems):
        name = IMPUTER
    if name is None:
        fillers = [system for system in systems if system.filler in plan.fillers]
        drawing = [system for system in fillers if system.draws is not None]
        return (drawing or fillers or systems)[-1]
    mine = [system for system in systems if system.filler == name]
    if not mine:
        raise ImderError(
            f"reference (--reference): {name!r} has no predictions; choose one of {', '.join(plan.fillers)}"
        )
    return next((system for system in mine if system.draws == REFERENCE_DRAWS), mine[-1])


def _missing(spec: Spec, available: str) -> str:
    """The names of what is missing, in words."""
    return " and ".join(name for name in spec.names if name not in available.split("+"))


def _rows(spec: Spec, measured: Measured, clips: TestClips) -> list[Row]:
    return [
        {
            "model": model,
            "filler": system.filler,
            "draws": system.draws,
            "available": available,
            "missing": _missing(spec, available),
            "seeds": measured.seeds[model, system],
            "n": len(clips.labels),
            "seconds": measured.seconds.get((model, system.filler)),
        }
        | {name: float(values[0]) for name, values in every.items()}
        for (model, system, available), every in measured.values.items()
    ]


def _differences(spec: Spec, measured: Measured, reference: System) -> list[Row]:
    rows = []
    for (model, system, available), mine in measured.values.items():
        theirs = measured.values.get((model, reference, available))
        if system == reference or theirs is None:
            continue
        for metric in mine.keys() & theirs.keys():
            difference = mine[metric] - theirs[metric]
            low, high, defined = interval(difference)
            rows.append(
                {
                    "model": model,
                    "filler": system.filler,
                    "draws": system.draws,
                    "reference": reference.filler,
                    "reference_draws": reference.draws,
                    "available": available,
                    "missing": _missing(spec, available),
                    "metric": metric,
                    "difference": float(difference[0]),
                    "low": low,
                    "high": high,
                    "defined": defined,
                }
            )
    return sorted(rows, key=lambda row: list(metrics_order(row["metric"])))


def metrics_order(name: str) -> tuple[int, str]:
    """A sort key: the order of `imder.metrics.METRICS`, others last."""
    order = [metric.name for metric in metrics.METRICS]
    return (order.index(name) if name in order else len(order), name)


def _metric_table(spec: Spec, plan: FixedPlan, measured: Measured, model: str, notes: tuple[str, ...]) -> Table:
    """Rows are systems; the best filler of each column is bold."""
    names, shown = list(incomplete_patterns(spec)), table_metrics(plan)
    systems = list(dict.fromkeys(system for key, system, _ in measured.values if key == model))
    columns = [(available, metric) for available in names for metric in shown]
    best: dict[tuple[str, str], float] = {}
    for available, metric in columns:
        values = [
            measured.values[model, system, available][metric][0] for system in systems if system.filler in plan.fillers
        ]
        if values:
            best[available, metric] = max(values) if metric_info(metric).higher_is_better else min(values)
    lines = []
    for system in systems:
        line: list[tuple[str, bool]] = [(system.label, False)]
        for available, metric in columns:
            value = float(measured.values[model, system, available][metric][0])
            competes = system.filler in plan.fillers
            line.append((format_value(metric, value), competes and value == best.get((available, metric))))
        lines.append(tuple(line))
    heads = [f"{_missing(spec, available)} missing\n{metric_info(metric).label}" for available, metric in columns]
    sections = tuple(i for i, s in enumerate(systems[:-1]) if s.filler == COMPLETE or systems[i + 1].filler == CEILING)
    about = MODELS[model].note if model in MODELS else f"{model}: the model of {plan.sources[model]}."
    title = f"fixed model {model} on {plan.settings.corpus}"
    return Table(title, ("filler", *heads), tuple(lines), sections, (about, *notes))


def _difference_table(
    spec: Spec, plan: FixedPlan, differences: Sequence[Row], model: str, reference: System, note: str
) -> Table:
    columns = [(available, metric) for available in incomplete_patterns(spec) for metric in table_metrics(plan)]
    mine = [row for row in differences if row["model"] == model]
    lines = []
    for system in dict.fromkeys(System(row["filler"], row["draws"]) for row in mine):
        cells = {
            (row["available"], row["metric"]): interval_text(row)
            for row in mine
            if (row["filler"], row["draws"]) == (system.filler, system.draws)
        }
        lines.append(((system.label, False), *(cells.get(column, ("–", False)) for column in columns)))
    heads = [f"{_missing(spec, available)} missing\n{metric_info(metric).label}" for available, metric in columns]
    title = f"fixed model {model}: difference from {reference.label} (95 % interval)"
    return Table(title, ("filler", *heads), tuple(lines), notes=(note,))


def _notes(
    folder: FixedFolder, corpus: Corpus, plan: FixedPlan, measured: Measured, clips: TestClips
) -> tuple[str, ...]:
    """Which clips were used, what fillers are, and what is missing."""
    settings, modalities = plan.settings, ", ".join(corpus.spec.names)
    abouts = [folder.about(Cell(model, COMPLETE, rotation)) for model in plan.models for rotation in plan.rotations()]
    counts = {
        key: round(float(np.mean([about[key] for about in abouts if key in about])))
        for key in ("train", "valid", "train_clips", "valid_clips")
    }
    notes = [
        f"Tested on the {len(clips.labels)} labelled test clips that hold all of {modalities}; fixed models trained on "
        f"{counts['train']} such clips (validation {counts['valid']}), fillers on all {counts['train_clips']} (validation "
        f"{counts['valid_clips']})."
    ]
    if settings.folds:
        blocks = " of consecutive names" if settings.order == "names" else ""
        groups = f"{rotation_groups(corpus)} in {settings.folds} folds{blocks}"
        notes.append(f"Rotation over {groups}; counts are means over rotations.")
    if settings.refit:
        notes.append("Training clips include those of validation, which are half of their fold.")
    if settings.label_share != 1:
        notes.append(f"Labels of train and valid used: {100 * settings.label_share:g} %.")
    if settings.pooled:
        notes.append("Sequences were pooled to vectors first: mean, deviation, deviation of the change.")
    if settings.outage == "half":
        notes.append(
            "A modality is missing in a random half of the test clips at a time; their neighbours may hold it."
        )
    notes.append("; ".join(f"{name}: {FILLERS[name].note}" for name in plan.fillers) + ".")
    if plan.systems:
        notes.append(f"Trained for missing modalities, without the fixed model: {', '.join(plan.systems)}.")
    if plan.seeds > 1:
        notes.append(f"Metrics are averaged over {plan.seeds} seeds.")
    shown: dict[str, list[str]] = {}
    for cell, reason in measured.reasons.items():
        shown.setdefault(reason, []).append(cell)
    notes += [
        f"Left out: {cells[0]}{f' and {len(cells) - 1} more' if len(cells) > 1 else ''} ({reason})."
        for reason, cells in shown.items()
    ]
    return tuple(notes)


def _write(folder: FixedFolder, name: str, text: str) -> None:
    with atomic_write(folder.path / name) as part:
        part.write_text(text, encoding="utf-8")
