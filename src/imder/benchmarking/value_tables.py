"""A benchmark's tables of metrics: for each protocol the papers' layout, and a table of each metric."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from imder.evaluation.formatting import metric_info
from imder.evaluation.layout import fit
from imder.evaluation.rendering import Table, table_width, with_notes
from imder.evaluation.results import averages, summarise
from imder.evaluation.tables import (
    BoldCell,
    default_metrics,
    make_table,
    paper_metrics,
    paper_table,
    uncertainty_metrics,
)


@dataclass(frozen=True)
class ValueTables:
    """Means and deviations of a benchmark's systems.

    Attributes:
        rows: tidy rows of the systems that are shown.
        protocols: in the order of the tables.
        references: systems that don't compete for bold.
        notes: below the tables in the papers' layout.
        short_notes: below the tables of one metric.
        bold: the cells that are bold.
        bold_notes: for each protocol what bold means; empty for nothing.
        title: of a table of the paper, before the tables' own titles. In its layout values stand without deviations.
        beside: columns of a table of the paper that begin a new block where it doesn't fit.
    """

    rows: list[dict[str, Any]]
    protocols: tuple[str, ...]
    references: tuple[str, ...]
    notes: tuple[str, ...]
    short_notes: tuple[str, ...]
    bold: Collection[BoldCell]
    bold_notes: Mapping[str, str]
    title: str = ""
    beside: tuple[str, ...] = ()

    @cached_property
    def summary(self) -> list[dict[str, Any]]:
        """Means and deviations of every system and setting."""
        return summarise(self.rows)

    @cached_property
    def means(self) -> list[dict[str, Any]]:
        """Averages over settings."""
        return averages(self.rows)

    @cached_property
    def papers(self) -> tuple[Table, ...]:
        """For each protocol the layout of the papers."""
        summary, means = self.summary, self.means
        if self.title:
            summary, means = _without_deviations(summary), _without_deviations(means)
        tables = []
        for p in self.protocols:
            table = paper_table(summary, means, p, references=self.references, bold=self.bold)
            table = replace(table, title=f"{self.title}: {table.title}" if self.title else table.title)
            tables.append(with_notes(table, (*self._about_bold(p), *self.notes)))
        return tuple(tables)

    def by_metric(self) -> list[Table]:
        """For each protocol a table of each metric, those of uncertainty included."""
        shown = (*default_metrics(self.summary), *uncertainty_metrics(self.summary))
        return [
            with_notes(self._of_metric(p, m), (*self._about_bold(p, m), *self.short_notes))
            for p in self.protocols
            for m in shown
        ]

    def fitting(self, width: int) -> list[Table]:
        """The papers' layout where it fits ``width`` characters.

        Else a table of the paper in blocks of its columns, and any other as a table of each metric, in blocks that fit.
        """
        tables: list[Table] = []
        for protocol, paper in zip(self.protocols, self.papers, strict=True):
            if table_width(paper) <= width:
                tables.append(paper)
            elif self.title:
                tables += fit(_broken_heads(paper), width, apart=self.beside)
            else:
                parts = [_broken_heads(self._of_metric(protocol, metric)) for metric in paper_metrics(self.summary)]
                parts = [replace(t, notes=tuple(note for note in t.notes if note not in paper.notes)) for t in parts]
                parts[-1] = with_notes(parts[-1], paper.notes)
                tables += [block for part in parts for block in fit(part, width)]
        return tables

    def _about_bold(self, protocol: str, metric: str = "") -> tuple[str, ...]:
        """What bold means in a protocol's tables; nothing for a metric that isn't tested."""
        note = self.bold_notes[protocol]
        return (note,) if note and (not metric or metric in default_metrics(self.summary)) else ()

    def _of_metric(self, protocol: str, metric: str) -> Table:
        """One metric, a column for each system."""
        table = make_table(
            self.summary, protocol, [metric], references=self.references, averages=self.means, bold=self.bold
        )
        label = metric_info(metric).label
        heads = tuple(head.removesuffix(f"\n{label}") for head in table.headers)
        return replace(table, title=f"{table.title}: {label}", headers=heads)


def _broken_heads(table: Table) -> Table:
    """The table with the variant of a model below its name."""
    return replace(table, headers=tuple(head.replace(":", ":\n") for head in table.headers))


def _without_deviations(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if not (k.endswith("_sd") and k[:-3] in row)} for row in rows]
