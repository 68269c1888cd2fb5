"""What a benchmark's folder says so far: results, tables, plots, comparisons. Cells that aren't finished are named.

Everything is made anew from the cells' files, so a report can be made at any time, of any part of the grid.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from imder.benchmarking.clusters import by_cluster, cluster_tables
from imder.benchmarking.ensemble import ensemble_rows, ensembles
from imder.benchmarking.folder import BenchmarkFolder
from imder.benchmarking.folds import fold_of
from imder.benchmarking.notes import label_shares, missing_note, plan_notes, system_notes
from imder.benchmarking.plan import GridCell, Plan
from imder.benchmarking.significance import RESAMPLES, compare, comparison_tables
from imder.data.corpus import Corpus, constant_baseline
from imder.evaluation.constant import constant_rows
from imder.evaluation.formatting import metric_info
from imder.evaluation.layout import fit, markdown_blocks
from imder.evaluation.plots import plot_differences, plot_rates
from imder.evaluation.rendering import Table, render_latex, table_width, with_notes
from imder.evaluation.results import averages, metric_names, summarise, write_csv
from imder.evaluation.tables import (
    REFERENCES,
    default_metrics,
    make_table,
    paper_metrics,
    paper_table,
    uncertainty_metrics,
)
from imder.jobs.files import atomic_write
from imder.missingness.protocols import PROTOCOLS
from imder.training.masks import hide_labels
from imder.types import ImderError


@dataclass(frozen=True)
class Report:
    """What was made.

    Attributes:
        protocols: in the order of the tables.
        rows: tidy rows of all finished cells and of the constant baseline.
        tables: for each protocol the layout of the papers.
        comparisons: for each protocol the differences on average, a line for each system.
        missing: for each cell that isn't finished, why.
        files: names of what was written.
        remarks: what could not be made, and why.
        references: baselines and ensembles, which are shown and don't compete for bold.
    """

    protocols: tuple[str, ...]
    rows: list[dict[str, Any]]
    tables: tuple[Table, ...]
    comparisons: tuple[Table, ...]
    missing: dict[str, str]
    files: tuple[str, ...]
    remarks: tuple[str, ...]
    references: tuple[str, ...]

    def fitting(self, width: int | None) -> list[Table]:
        """The tables where they fit ``width`` characters, else one for each metric, in blocks of columns that fit."""
        if width is None:
            return list(self.tables)
        summary, mean = summarise(self.rows), averages(self.rows)
        tables = []
        for protocol, paper in zip(self.protocols, self.tables, strict=True):
            if table_width(paper) <= width:
                tables.append(paper)
                continue
            each = [_of_metric(summary, protocol, m, mean, self.references) for m in paper_metrics(summary)]
            each = [replace(table, headers=tuple(h.replace(":", ":\n") for h in table.headers)) for table in each]
            each = [replace(table, notes=tuple(n for n in table.notes if n not in paper.notes)) for table in each]
            each = [*each[:-1], with_notes(each[-1], paper.notes)]
            tables += [block for table in each for block in fit(table, width)]
        return tables

    def comparing(self, width: int | None) -> list[Table]:
        """The comparisons, in blocks of columns that fit ``width`` characters."""
        return [block for table in self.comparisons for block in fit(table, width)]


def write_report(place: str | Path, corpus: Corpus, plan: Plan, *, resamples: int = RESAMPLES) -> Report:
    """Write ``results.csv``, ``tables.md``, ``tables.tex``, ``significance.csv`` and a plot of each metric.

    ``results.parquet`` is written too where pyarrow is installed.

    Args:
        place: the benchmark's folder.
        corpus: the corpus, for the constant baseline and for what belongs together in resampling.
        plan: all that was asked for.
        resamples: of the bootstrap.

    Raises:
        ImderError: no cell is finished.
    """
    at = BenchmarkFolder(place)
    cells = plan.cells()
    finished = [cell for cell in cells if at.finished(cell, plan)]
    missing = {cell.name: at.reason(cell) or "not run yet" for cell in cells if cell not in finished}
    if not finished:
        raise ImderError(f"{at.path}: no cell is finished; {'; '.join(f'{k}: {v}' for k, v in missing.items())}")
    rows = [row | {"run": cell.run} for cell in _in_order(finished, plan) for row in at.rows(cell)]
    together = ensemble_rows(at, plan, finished)
    rows = [row for row in rows + together if row["protocol"] in plan.protocols and row["rate"] in (None, *plan.rates)]
    rows += _constant_rows(corpus, plan, calibrated=any("coverage" in row for row in rows))
    comparisons, compared = compare(at, corpus, plan, finished, resamples=resamples)
    said = system_notes(corpus, plan, finished)
    notes = (*plan_notes(plan, finished, tuple(ensembles(plan, finished))), *said, *missing_note(missing))
    mean, summary = averages(rows), summarise(rows)
    beside = (*REFERENCES, *ensembles(plan, finished))
    papers = tuple(with_notes(paper_table(summary, mean, p, references=beside), notes) for p in plan.protocols)
    tables = comparison_tables(comparisons, compared)
    apart, whose = by_cluster(at, corpus, plan, finished)
    tables += cluster_tables(apart, whose, plan.shared.convention)
    tables = tuple(with_notes(table, said) for table in tables)
    files = ["results.csv", "significance.csv", "tables.md", "tables.tex"]
    write_csv(rows, at.path / "results.csv")
    if comparisons:
        write_csv(comparisons, at.path / "significance.csv")
    else:
        files.remove("significance.csv")
    if apart:
        write_csv(apart, at.path / f"{whose}.csv")
        files.append(f"{whose}.csv")
    remarks = []
    if importlib.util.find_spec("pyarrow") is None:
        remarks.append("results.parquet is left out: pyarrow isn't installed (pip install 'imder[parquet]')")
    else:
        _write_parquet(rows, at.path / "results.parquet")
        files.append("results.parquet")
    shown = (*default_metrics(summary), *uncertainty_metrics(summary))
    each = [with_notes(_of_metric(summary, p, m, mean, beside), said) for p in plan.protocols for m in shown]
    drawn = (*papers, *tables, *each)
    text = "\n".join([*(f"{note}\n" for note in notes), *(f"## {t.title}\n\n{markdown_blocks(t)}" for t in drawn)])
    _write(at.path / "tables.md", text)
    _write(at.path / "tables.tex", "\n".join(["% \\usepackage{booktabs,adjustbox}\n", *map(render_latex, drawn)]))
    files += _plots(at, rows, comparisons, plan)
    short = tuple(with_notes(table, said) for table in comparison_tables(comparisons, compared, brief=True))
    return Report(plan.protocols, rows, papers, short, missing, tuple(files), tuple(remarks), beside)


def _of_metric(
    summary: Sequence[dict[str, Any]],
    protocol: str,
    metric: str,
    mean: Sequence[dict[str, Any]],
    references: Sequence[str],
) -> Table:
    """One metric, a column for each system."""
    table = make_table(summary, protocol, [metric], references=references, averages=mean)
    label = metric_info(metric).label
    heads = tuple(head.removesuffix(f"\n{label}") for head in table.headers)
    return replace(table, title=f"{table.title}: {label}", headers=heads)


def _in_order(cells: Sequence[GridCell], plan: Plan) -> list[GridCell]:
    """Models in the plan's order: that of the tables' columns."""
    place = {name: i for i, name in enumerate(plan.models)}
    return sorted(cells, key=lambda c: (place[c.model], c.seed, c.fold or 0, c.rate or 0.0))


def _constant_rows(corpus: Corpus, plan: Plan, *, calibrated: bool) -> list[dict[str, Any]]:
    """The constant, on the same masks; of every rotation, and for each seed where models get only some labels.

    It knows the labels that the models know, where they all get the same.
    """
    folds = range(plan.shared.folds) if plan.shared.folds else (None,)
    shares = label_shares(plan)
    share = shares.pop() if len(shares) == 1 else 1.0
    out: list[dict[str, Any]] = []
    for fold, seed in product(folds, range(plan.seeds) if share < 1 else (None,)):
        part = corpus if fold is None else fold_of(corpus, fold, plan.shared.folds)
        known = part["train"] if seed is None else hide_labels(part["train"], share, seed)
        for protocol in plan.protocols:
            out += constant_rows(
                part,
                plan.evaluation(protocol),
                baseline=constant_baseline(known, corpus.spec),
                run="-".join(name for name, n in ((f"{seed}", seed), (f"fold{fold}", fold)) if n is not None),
                calibrated=calibrated,
            )
    return out


def _plots(
    at: BenchmarkFolder, rows: list[dict[str, Any]], comparisons: Sequence[Mapping[str, Any]], plan: Plan
) -> list[str]:
    """A plot of each metric under each protocol with rates, and one of the differences under each; their names."""
    names = []
    for protocol in plan.protocols:
        if any(row["protocol"] == protocol for row in comparisons):
            names.append(f"{protocol}-differences.png")
            plot_differences(comparisons, at.path / names[-1], protocol=protocol)
        if PROTOCOLS[protocol].has_rates:
            for metric in metric_names([row for row in rows if row["protocol"] == protocol]):
                names.append(f"{protocol}-{metric}.png")
                plot_rates(rows, metric, at.path / names[-1], protocol=protocol)
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
