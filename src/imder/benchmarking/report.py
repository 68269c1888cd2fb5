"""The report of a benchmark's finished cells: results, tables, plots, comparisons; unfinished cells are named.

It is made from the cells' files alone, at any time, for any part of the grid.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from imder.benchmarking.comparisons import Comparisons, paired_comparisons
from imder.benchmarking.ensemble import ensemble_rows, ensembles
from imder.benchmarking.folder import BenchmarkFolder
from imder.benchmarking.folds import fold_of
from imder.benchmarking.notes import (
    changes_note,
    label_shares,
    missing_note,
    plan_notes,
    recovery_note,
    system_notes,
    weight_note,
)
from imder.benchmarking.p_values import Correction
from imder.benchmarking.pairs import bold_cells, bold_note
from imder.benchmarking.paper_tables import PaperTable
from imder.benchmarking.plan import GridCell, Plan
from imder.benchmarking.significance import RESAMPLES
from imder.benchmarking.value_tables import ValueTables
from imder.data.corpus import Corpus, constant_baseline
from imder.evaluation.constant import constant_rows
from imder.evaluation.difference_plot import difference_lines, plot_rate_differences
from imder.evaluation.layout import fit, markdown_blocks
from imder.evaluation.plots import plot_differences, plot_rates
from imder.evaluation.rendering import Table, render_latex, with_notes
from imder.evaluation.results import metric_names, write_csv
from imder.evaluation.tables import REFERENCES
from imder.jobs.files import atomic_write
from imder.metrics import names_of
from imder.missingness.protocols import PROTOCOLS
from imder.training.masks import hide_labels
from imder.types import ImderError


@dataclass(frozen=True)
class Report:
    """A report.

    Attributes:
        rows: tidy rows of all finished cells and of the constant baseline.
        comparisons: for each protocol the differences on average, and the largest loss from adding a modality: a line for
            each system.
        missing: for each cell that isn't finished, why.
        files: names of the files written.
        remarks: what was left out, and why.
        values: tables of metrics.
    """

    rows: list[dict[str, Any]]
    comparisons: tuple[Table, ...]
    missing: dict[str, str]
    files: tuple[str, ...]
    remarks: tuple[str, ...]
    values: ValueTables

    @property
    def tables(self) -> tuple[Table, ...]:
        """For each protocol the layout of the papers."""
        return self.values.papers

    def fitting(self, width: int | None) -> list[Table]:
        """The tables where they fit ``width`` characters, else one for each metric, in blocks of columns that fit."""
        return list(self.tables) if width is None else self.values.fitting(width)

    def comparing(self, width: int | None) -> list[Table]:
        """The comparisons, in blocks of columns that fit ``width`` characters."""
        return [block for table in self.comparisons for block in fit(table, width)]


def write_report(
    path: str | Path,
    corpus: Corpus,
    plan: Plan,
    *,
    resamples: int = RESAMPLES,
    correction: Correction = "holm",
    paper: PaperTable | None = None,
) -> Report:
    """Write ``results.csv``, ``tables.md``, ``tables.tex``, comparisons as CSV and a plot of each metric.

    ``results.parquet`` is written too where pyarrow is installed.

    Args:
        path: the benchmark's folder.
        corpus: source of the constant baseline and of the groups (dialogues, speakers) that the bootstrap resamples.
        plan: the whole plan.
        resamples: number of bootstrap resamples.
        correction: of p-values, within each table.
        paper: the table of the paper that this is; None for a comparison of any systems.

    Raises:
        ImderError: no cell is finished.
    """
    folder = BenchmarkFolder(path)
    cells = plan.cells()
    finished = [cell for cell in cells if folder.finished(cell, plan)]
    missing = {cell.name: folder.reason(cell) or "not run yet" for cell in cells if cell not in finished}
    if not finished:
        raise ImderError(f"{folder.path}: no cell is finished; {'; '.join(f'{k}: {v}' for k, v in missing.items())}")
    rows = [row | {"run": cell.run} for cell in _in_order(finished, plan) for row in folder.rows(cell)]
    together = ensemble_rows(folder, plan, finished)
    rows = [row for row in rows + together if row["protocol"] in plan.protocols and row["rate"] in (None, *plan.rates)]
    rows += _constant_rows(corpus, plan, calibrated=any("coverage" in row for row in rows))
    reference, beside = ("", ()) if paper is None else (paper.recipe, paper.beside)
    compared = paired_comparisons(
        folder, corpus, plan, finished, resamples, reference=reference, beside=beside, correction=correction
    )
    about_systems = system_notes(corpus, plan, finished)
    ensembled = tuple(ensembles(plan, finished))
    notes = (
        *(() if paper is None else (*paper.notes, *changes_note(plan, paper.recipe))),
        *plan_notes(corpus, plan, finished, ensembled if paper is None else (), paper=paper is not None),
        *about_systems,
        *weight_note(rows),
        *recovery_note(folder, finished),
        *missing_note(missing),
    )
    values = ValueTables(
        rows if paper is None else [row for row in rows if row["model"] not in ensembled],
        plan.protocols,
        (*REFERENCES, *ensembled),
        notes,
        about_systems,
        bold_cells(compared.pairs),
        {protocol: bold_note(compared.pairs, protocol, beside) for protocol in plan.protocols},
        "" if paper is None else paper.title,
        beside,
    )
    tables = compared.tables(plan.shared.convention)
    tables = tuple(with_notes(table, about_systems) for table in tables)
    files = ["results.csv", "tables.md", "tables.tex"]
    write_csv(rows, folder.path / "results.csv")
    for name, content in compared.files().items():
        write_csv(content, folder.path / name)
        files.append(name)
    remarks = []
    if importlib.util.find_spec("pyarrow") is None:
        remarks.append("results.parquet is left out: pyarrow isn't installed (pip install '.[parquet]')")
    else:
        _write_parquet(rows, folder.path / "results.parquet")
        files.append("results.parquet")
    all_tables = (*values.papers, *tables, *values.by_metric())
    text = "\n".join([*(f"{note}\n" for note in notes), *(f"## {t.title}\n\n{markdown_blocks(t)}" for t in all_tables)])
    _write(folder.path / "tables.md", text)
    _write(
        folder.path / "tables.tex", "\n".join(["% \\usepackage{booktabs,adjustbox}\n", *map(render_latex, all_tables)])
    )
    files += [*_plots(folder, rows, plan), *_difference_plots(folder, compared, plan, ensembled)]
    brief = tuple(with_notes(table, about_systems) for table in compared.tables(plan.shared.convention, brief=True))
    return Report(rows, brief, missing, tuple(files), tuple(remarks), values)


def _in_order(cells: Sequence[GridCell], plan: Plan) -> list[GridCell]:
    """Sorted by model, in the plan's order, which is that of the tables' columns."""
    order = {name: i for i, name in enumerate(plan.models)}
    return sorted(cells, key=lambda c: (order[c.model], c.seed, c.fold or 0, c.rate or 0.0))


def _constant_rows(corpus: Corpus, plan: Plan, *, calibrated: bool) -> list[dict[str, Any]]:
    """Rows of the constant baseline: for every rotation, and for each seed where models use only a share of the labels.

    It is computed from the labels that the models use, where all models use the same share.
    """
    folds = range(plan.shared.folds) if plan.shared.folds else (None,)
    shares = label_shares(plan)
    share = shares.pop() if len(shares) == 1 else 1.0
    out: list[dict[str, Any]] = []
    for fold, seed in product(folds, range(plan.seeds) if share < 1 else (None,)):
        part = corpus if fold is None else fold_of(corpus, fold, plan.shared.folds)
        training = part["train"] if seed is None else hide_labels(part["train"], share, seed)
        for protocol in plan.protocols:
            out += constant_rows(
                part,
                plan.evaluation(protocol),
                baseline=constant_baseline(training, corpus.spec),
                run="-".join(name for name, n in ((f"{seed}", seed), (f"fold{fold}", fold)) if n is not None),
                calibrated=calibrated,
            )
    return out


def _plots(folder: BenchmarkFolder, rows: list[dict[str, Any]], plan: Plan) -> list[str]:
    """A plot of each metric under each protocol with rates; their names."""
    names = []
    for protocol in plan.protocols:
        if PROTOCOLS[protocol].has_rates:
            for metric in metric_names([row for row in rows if row["protocol"] == protocol]):
                names.append(f"{protocol}-{metric}.png")
                plot_rates(rows, metric, folder.path / names[-1], protocol=protocol)
    return names


def _difference_plots(
    folder: BenchmarkFolder, compared: Comparisons, plan: Plan, ensembled: Sequence[str]
) -> list[str]:
    """Plots of differences: on average under each protocol, and of main metrics over the rates; their names."""
    names = []
    rows = compared.from_plain
    for protocol in plan.protocols:
        if any(row["protocol"] == protocol for row in compared.differences):
            names.append(f"{protocol}-differences.png")
            plot_differences(compared.differences, folder.path / names[-1], protocol=protocol)
        for metric in names_of(plan.shared.convention, "main"):
            lines = difference_lines(
                [r for r in rows if (r["protocol"], r["metric"]) == (protocol, metric) and r["rate"] is not None],
                protocol,
            )
            if lines.keys() - set(ensembled):
                names.append(f"{protocol}-{metric}-differences.png")
                plot_rate_differences(rows, metric, folder.path / names[-1], protocol=protocol, leave_out=ensembled)
    return names


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


def _write_parquet(rows: list[dict[str, Any]], path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = pyarrow.table({name: [row.get(name) for row in rows] for name in columns})
    with atomic_write(path) as part:
        parquet.write_table(table, part)
