"""The yardstick for extra compute: the seeds of a system, their predictions averaged.

A method that draws, refines and averages costs more than one that doesn't; three late fusions that differ in their seed cost
three times as much as one. What a recovery gains must be held against what that gains, for the method itself too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from imder import metrics
from imder.benchmarking.folder import BenchmarkFolder
from imder.benchmarking.plan import GridCell, Plan
from imder.evaluation.evaluate import COLUMNS

ENSEMBLED = ("late-fusion", "imder")
"""Of which models: the strongest of the plain ones, and the method that is compared with the others."""


def ensembles(plan: Plan, cells: Sequence[GridCell]) -> dict[str, str]:
    """What the averages are called in tables, and of which model each is: those of `ENSEMBLED` that have several seeds.

    All cells of such a model must be among ``cells``.
    """
    if plan.seeds < 2:
        return {}
    wanted = [cell for cell in plan.cells() if cell.model in ENSEMBLED]
    whole = [m for m in ENSEMBLED if m in plan.models and all(c in cells for c in wanted if c.model == m)]
    return {f"{plan.seeds} {model}": model for model in whole}


def ensemble_rows(at: BenchmarkFolder, plan: Plan, cells: Sequence[GridCell]) -> list[dict[str, Any]]:
    """Tidy rows of the `ensembles`.

    Args:
        at: where the cells' predictions are.
        plan: its plan.
        cells: finished ones.
    """
    return [
        row
        for name, model in ensembles(plan, cells).items()
        for row in _rows(at, plan, name, [cell for cell in cells if cell.model == model])
    ]


def _rows(at: BenchmarkFolder, plan: Plan, name: str, mine: Sequence[GridCell]) -> list[dict[str, Any]]:
    groups: dict[tuple[Any, ...], list[GridCell]] = {}
    for cell in mine:
        groups.setdefault((cell.fold, cell.rate), []).append(cell)
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
