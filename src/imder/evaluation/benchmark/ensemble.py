"""The yardstick for extra compute: the seeds of a plain system, averaged.

A method that draws, refines and averages costs more than one that doesn't; three late fusions that differ in their seed, their
predictions averaged, cost three times as much too. What a recovery gains must be held against what that gains.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from imder import metrics
from imder.evaluation.benchmark.place import Place
from imder.evaluation.benchmark.plan import GridCell, Plan
from imder.evaluation.grid import COLUMNS

ENSEMBLED = "late-fusion"
"""Of which model: the strongest of the plain ones."""


def ensemble_name(plan: Plan) -> str:
    """What the average is called in tables."""
    return f"{plan.seeds} {ENSEMBLED}"


def ensemble_rows(at: Place, plan: Plan, cells: Sequence[GridCell]) -> list[dict[str, Any]]:
    """Tidy rows of the average over seeds of `ENSEMBLED`; none unless it has several and all are among ``cells``.

    Args:
        at: where the cells' predictions are.
        plan: its plan.
        cells: finished ones.
    """
    mine = [cell for cell in cells if cell.model == ENSEMBLED]
    if plan.seeds < 2 or len(mine) < len([cell for cell in plan.cells() if cell.model == ENSEMBLED]):
        return []
    groups: dict[tuple[Any, ...], list[GridCell]] = {}
    for cell in mine:
        groups.setdefault((cell.fold, cell.rate), []).append(cell)
    name = ensemble_name(plan)
    out = []
    for (fold, _), members in groups.items():
        run = name if fold is None else f"{name}-fold{fold}"
        kept = [at.predictions(cell) for cell in members]
        labels = kept[0]["labels"]
        for protocol in plan.protocols:
            mean = np.mean([arrays[protocol] for arrays in kept], axis=0)
            like = [row for row in at.rows(members[0]) if row["protocol"] == protocol]
            for row, values in zip(like, mean, strict=True):
                served = ~np.isnan(values.reshape(len(values), -1)).any(axis=1)
                found = metrics.evaluate(plan.shared.convention, values[served], labels[served])
                out.append({key: row[key] for key in COLUMNS} | {"model": name, "run": run} | found)
    return out
