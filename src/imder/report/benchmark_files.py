"""The files of a finished benchmark, as a report reads them: plan, rows, differences, and what its runs recorded."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from imder.benchmarking.ensemble import ensembles
from imder.benchmarking.folder import BenchmarkFolder
from imder.benchmarking.plan import GridCell, Plan
from imder.benchmarking.significance import PLAIN
from imder.evaluation.results import read_csv
from imder.evaluation.tables import REFERENCES
from imder.report.results import Results
from imder.training.run import RunDirectory, spec_of
from imder.types import ImderError

Row = dict[str, Any]

_NUMBERS = frozenset(
    {"rate", "effective_rate", "difference", "loss", "low", "high", "defined", "p", "p_holm", "seeds", "n"}
)


def is_benchmark(path: str | Path) -> bool:
    """Whether a folder holds a benchmark."""
    return (Path(path) / "benchmark.json").is_file()


@dataclass(frozen=True)
class BenchmarkFiles:
    """A benchmark's folder.

    Attributes:
        folder: its paths.
        plan: of its cells.
        rows: tidy rows of all finished cells and of the constant baseline (``results.csv``).
        differences: of the systems from the baseline (``significance.csv``); empty where one system was measured.
        additions: losses from adding a modality (``additions.csv``); empty where none were measured.
    """

    folder: BenchmarkFolder
    plan: Plan
    rows: list[Row]
    differences: list[Row]
    additions: list[Row]

    @classmethod
    def read(cls, path: str | Path) -> BenchmarkFiles:
        """Read a folder.

        Raises:
            ImderError: it is no benchmark, has no finished cell, or a file is damaged.
        """
        folder = BenchmarkFolder(path)
        plan = folder.plan()
        if not (folder.path / "results.csv").exists():
            raise ImderError(f"{path}: has no results.csv: no cell is finished; run imder benchmark again to go on")
        compared = read_comparisons(folder.path / "significance.csv", "difference")
        references = list(dict.fromkeys(row["reference"] for row in compared))
        baseline = PLAIN if PLAIN in references else next(iter(references), "")
        return cls(
            folder,
            plan,
            read_csv(folder.path / "results.csv"),
            [row for row in compared if row["reference"] == baseline],
            read_comparisons(folder.path / "additions.csv", "loss"),
        )

    @cached_property
    def finished(self) -> list[GridCell]:
        """The finished cells, model by model."""
        cells = [cell for cell in self.plan.cells() if self.folder.finished(cell, self.plan)]
        return sorted(cells, key=lambda cell: list(self.plan.models).index(cell.model))

    @cached_property
    def unfinished(self) -> dict[str, str]:
        """For each other cell, why it isn't finished."""
        return {
            cell.name: self.folder.reason(cell) or "not run yet"
            for cell in self.plan.cells()
            if cell not in self.finished
        }

    @property
    def models(self) -> list[str]:
        """The models with a finished cell, in the order of tables."""
        return list(dict.fromkeys(cell.model for cell in self.finished))

    @cached_property
    def results(self) -> Results:
        """What the benchmark measured."""
        ensembled = tuple(ensembles(self.plan, self.finished))
        runs = [run for model in self.models for run in self.runs(model)]
        return Results(
            spec_of(runs[0].entry("trained_on.json")) if runs else None,
            self.plan.shared.convention,
            self.plan.protocols,
            self.plan.shared.draws,
            self.rows,
            self.differences,
            (*REFERENCES, *ensembled),
            ensembled,
        )

    def runs(self, model: str) -> list[RunDirectory]:
        """The finished runs of a model whose folders are still there."""
        runs = [RunDirectory(self.folder.run(cell)) for cell in self.finished if cell.model == model]
        return [run for run in runs if run.finished()]


def read_comparisons(path: Path, value: str) -> list[Row]:
    """Rows of a comparison: ``significance.csv`` or ``additions.csv``; none where there is no such file.

    Args:
        path: the file.
        value: the column that holds what is compared.

    Raises:
        ImderError: the file is damaged.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = {"model", "metric", value, "low", "high", "p"} - set(reader.fieldnames or ())
            if missing:
                raise ImderError(f"{path}: no column {min(missing)!r}; run imder benchmark again to write it anew")
            return [_parsed(row, f"{path}: line {reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ImderError(f"{path}: cannot be read ({error})") from None


def _parsed(row: Mapping[Any, Any], where: str) -> Row:
    if None in row or None in row.values():
        raise ImderError(f"{where}: a row of another length than the header")
    try:
        return {k: (None if v == "" else float(v)) if k in _NUMBERS else str(v) for k, v in row.items()}
    except ValueError as error:
        raise ImderError(f"{where}: {error}") from None
