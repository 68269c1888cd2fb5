"""Never worse than less: for each system the largest loss from adding an available modality.

Under the fixed protocol every subset of the modalities is predicted, so each addition of one modality to a subset is a paired
comparison within a system (`imder.evaluation.additions`), with the resamples of `imder.benchmarking.significance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from imder import metrics
from imder.benchmarking.bootstrap import Array, interval
from imder.benchmarking.folder import BenchmarkFolder
from imder.benchmarking.p_values import Correction, is_significant, p_value, significance_note, with_correction
from imder.benchmarking.plan import GridCell, Plan
from imder.benchmarking.resampled import ClusteredTests, predictions_by_seed
from imder.evaluation.additions import Addition, additions
from imder.evaluation.formatting import metric_info, scale_of
from imder.evaluation.rendering import Table

PROTOCOL = "fixed"


def addition_rows(
    folder: BenchmarkFolder,
    plan: Plan,
    cells: Sequence[GridCell],
    tests: ClusteredTests,
    weights: Array,
    correction: Correction = "holm",
) -> list[dict[str, Any]]:
    """The loss from every addition of a modality, averaged over seeds, with 95 % intervals and p-values.

    Args:
        folder: the benchmark's folder.
        plan: its plan.
        cells: finished ones.
        tests: its test samples.
        weights: ``(B, N)`` of these samples, from `imder.benchmarking.bootstrap.cluster_weights`.
        correction: of all the p-values.

    Returns:
        A row for each (model, subset, added modality, main metric) with ``loss``, ``low``, ``high``, ``defined`` (the share
        of resamples in which the metric was defined), ``p`` and, corrected, ``p_holm``, the samples ``n`` and the ``seeds``;
        nothing without the fixed protocol.
    """
    if PROTOCOL not in plan.protocols:
        return []
    splits = list(tests.splits.values())
    names = tuple(splits[0].features)
    present = np.concatenate([split.present for split in splits])
    rows: list[dict[str, Any]] = []
    for model in plan.models:
        seeds: list[list[Addition]] = []
        mine = [cell for cell in cells if cell.model == model]
        for settings in predictions_by_seed(folder, plan, mine, tests.splits).values():
            by_subset = {key[2]: values[0] for key, values in settings.items() if key[0] == PROTOCOL}
            seeds.append(additions(by_subset, present, names, tests.labels, plan.shared.convention, weights))
        for same in zip(*seeds, strict=True):
            for metric in same[0].losses:
                loss = np.mean([addition.losses[metric] for addition in same], axis=0)
                low, high, defined = interval(loss)
                about = {"model": model, "subset": same[0].subset, "added": same[0].added, "metric": metric}
                values = {"loss": float(loss[0]), "low": low, "high": high, "defined": defined}
                values["p"] = p_value(loss, tests.count)
                rows.append(about | values | {"n": same[0].n, "seeds": len(same)})
    return with_correction(rows, (), correction)


def addition_table(rows: Sequence[dict[str, Any]], words: str, convention: str) -> tuple[Table, ...]:
    """For each system the largest loss in each main metric; bold where it is significantly above 0.

    Args:
        rows: of `addition_rows`.
        words: what was resampled.
        convention: of the metrics.

    Returns:
        One table, or none without rows.
    """
    shown = metrics.names_of(convention, "main")
    lines = []
    for model in dict.fromkeys(row["model"] for row in rows):
        line: list[tuple[str, bool]] = [(model, False)]
        for metric in shown:
            mine = [r for r in rows if (r["model"], r["metric"]) == (model, metric) and not np.isnan(r["loss"])]
            worst = max(mine, key=lambda row: float(row["loss"]), default=None)
            line += [("–", False), ("–", False)] if worst is None else [cost_text(worst), (_pair(worst), False)]
        lines.append(tuple(line))
    if not lines:
        return ()
    pairs = len({(row["subset"], row["added"]) for row in rows})
    note = (
        f"The worst of {pairs} additions of one modality to a subset, on the samples that have it; above 0 the addition "
        f"makes the metric worse. Paired bootstrap, {words}; averaged over seeds. Bold: above 0, "
        f"{significance_note(rows, 'systems, additions and metrics')}. Each interval holds for one addition, and the largest "
        "of several is above 0 by chance too."
    )
    heads = ("model", *(h for m in shown for h in (f"{metric_info(m).label}\nloss", f"{metric_info(m).label}\nadded")))
    title = f"{PROTOCOL} protocol: largest loss from adding an available modality (95 % interval)"
    return (Table(title, heads, tuple(lines), notes=(note,)),)


def cost_text(row: dict[str, Any], *, of_losing: bool = False) -> tuple[str, bool]:
    """What an addition costs, or losing the modality again, with its interval; and whether it is significantly above 0."""
    scale, digits = scale_of(row["metric"])
    sign, keys = (-1, ("loss", "high", "low")) if of_losing else (1, ("loss", "low", "high"))
    cost, low, high = (round(sign * scale * row[key], digits) + 0.0 for key in keys)
    return f"{cost:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]", sign * row["loss"] > 0 and is_significant(row)


def _pair(row: dict[str, Any]) -> str:
    return f"{row['added']} to {row['subset']}"
