"""Seed ensembles: a system's predictions averaged over its seeds, as a yardstick for extra compute.

A method that samples and averages recoveries costs more than a plain one. Its gain should be compared with the gain of
spending the same compute on an ensemble of trainings.
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
"""The models that are ensembled: the strongest plain system and the method itself."""


def ensembles(plan: Plan, cells: Sequence[GridCell]) -> dict[str, str]:
    """From the ensembles' names in tables to their models: those of `ENSEMBLED` with several seeds.

    All cells of a model must be among ``cells``.
    """
    if plan.seeds < 2:
        return {}
    wanted = [cell for cell in plan.cells() if cell.model in ENSEMBLED]
    whole = [m for m in ENSEMBLED if m in plan.models and all(c in cells for c in wanted if c.model == m)]
    return {f"{plan.seeds} {model}": model for model in whole}


def ensemble_rows(folder: BenchmarkFolder, plan: Plan, cells: Sequence[GridCell]) -> list[dict[str, Any]]:
    """Tidy rows of the `ensembles`.

    Args:
        folder: the benchmark's folder.
        plan: its plan.
        cells: finished ones.
    """
    return [
        row
        for name, model in ensembles(plan, cells).items()
        for row in _rows(folder, plan, name, [cell for cell in cells if cell.model == model])
    ]


def _rows(folder: BenchmarkFolder, plan: Plan, name: str, mine: Sequence[GridCell]) -> list[dict[str, Any]]:
    groups: dict[tuple[Any, ...], list[GridCell]] = {}
    for cell in mine:
        groups.setdefault((cell.fold, cell.rate), []).append(cell)
    out = []
    for (fold, _), members in groups.items():
        run = name if fold is None else f"{name}-fold{fold}"
        predictions = [folder.predictions(cell) for cell in members]
        labels = predictions[0]["labels"]
        for protocol in plan.protocols:
            mean = np.mean([arrays[protocol] for arrays in predictions], axis=0)
            like = [row for row in folder.rows(members[0]) if row["protocol"] == protocol]
            for row, values in zip(like, mean, strict=True):
                served = ~np.isnan(values.reshape(len(values), -1)).any(axis=1)
                scores = metrics.evaluate(plan.shared.convention, values[served], labels[served])
                out.append({key: row[key] for key in COLUMNS} | {"model": name, "run": run} | scores)
    return out
