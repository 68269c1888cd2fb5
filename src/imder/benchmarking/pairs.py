"""Every pair of systems that compete in a table, tested in every cell: what is bold there.

A system's value is bold where it is better than that of each other system beside it, each difference significant. Systems
compete with all others or, in the paper's tables, within their group of columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from imder.benchmarking.p_values import Correction, is_significant, significance_note, with_correction
from imder.benchmarking.resampled import ResampledModels
from imder.benchmarking.significance import comparison_rows
from imder.evaluation.formatting import metric_info
from imder.evaluation.tables import BoldCell


def pair_rows(measured: ResampledModels, beside: Sequence[str], correction: Correction) -> list[dict[str, Any]]:
    """Differences of the first of each two competing models from the second.

    Args:
        measured: metrics in every resample.
        beside: models that compete with each other alone; the others compete likewise.
        correction: of the p-values, within each protocol.

    Returns:
        Rows as `imder.benchmarking.significance.compare` gives them, for each pair that has a seed in common.
    """
    groups = ([m for m in measured.by_seed if (m in beside) == inside] for inside in (False, True))
    rows: list[dict[str, Any]] = []
    for model, other in (pair for group in groups for pair in combinations(group, 2)):
        rows += comparison_rows(measured, model, other)
    return with_correction(rows, ("protocol",), correction)


def bold_cells(rows: Sequence[dict[str, Any]]) -> set[BoldCell]:
    """The cells of systems that are significantly better than each system that they compete with.

    Args:
        rows: of `pair_rows`.
    """
    rivals: dict[BoldCell, int] = {}
    beaten: dict[BoldCell, int] = {}
    for row in rows:
        higher_is_better = metric_info(row["metric"]).higher_is_better
        better = (row["difference"] > 0) == higher_is_better
        for model, wins in ((row["model"], better), (row["reference"], not better)):
            cell = (row["protocol"], row["rate"], row["available"], row["metric"], model)
            rivals[cell] = rivals.get(cell, 0) + 1
            beaten[cell] = beaten.get(cell, 0) + (wins and is_significant(row))
    return {cell for cell, count in rivals.items() if beaten[cell] == count}


def bold_note(rows: Sequence[dict[str, Any]], protocol: str, beside: Sequence[str]) -> str:
    """What bold means in the tables of a protocol; empty where no systems compete.

    Args:
        rows: of `pair_rows`.
        protocol: of the tables.
        beside: as in `pair_rows`.
    """
    mine = [row for row in rows if row["protocol"] == protocol]
    if not mine:
        return ""
    apart = f" ({', '.join(beside)} among themselves)" if len(beside) > 1 else f" ({beside[0]} apart)" if beside else ""
    how = significance_note(mine, "pairs of systems, rows and metrics of this protocol")
    return f"Bold: better than each other system{apart}, {how}."
