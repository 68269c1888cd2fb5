"""A modality's share in the result: what losing it costs when everything else stays available.

Losing k is the opposite of adding k to all others, so the costs are the losses of these additions
(`imder.benchmarking.additions`) with the other sign, on the samples that have k.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from imder import metrics
from imder.benchmarking.additions import PROTOCOL, cost_text
from imder.benchmarking.p_values import significance_note
from imder.evaluation.formatting import metric_info
from imder.evaluation.rendering import Table


def share_table(rows: Sequence[dict[str, Any]], words: str, convention: str) -> tuple[Table, ...]:
    """For each system and modality the cost of losing it, in each main metric; bold where it is significantly above 0.

    Args:
        rows: of `imder.benchmarking.additions.addition_rows`.
        words: what was resampled.
        convention: of the metrics.

    Returns:
        One table, or none without rows.
    """
    shown = metrics.names_of(convention, "main")
    count = max(map(_available, rows), default=0)
    last = [row for row in rows if _available(row) == count]
    lines = []
    for model, name in dict.fromkeys((row["model"], row["added"]) for row in last):
        mine = {row["metric"]: row for row in last if (row["model"], row["added"]) == (model, name)}
        samples = next(iter(mine.values()))["n"]
        cells = [
            cost_text(mine[m], of_losing=True) if m in mine and not np.isnan(mine[m]["loss"]) else ("–", False)
            for m in shown
        ]
        lines.append(((model, False), (name, False), (str(samples), False), *cells))
    if not lines:
        return ()
    note = (
        "Everything available against everything but the lost modality, on the n samples that have both; above 0 the metric "
        f"gets worse. Paired bootstrap, {words}; averaged over seeds. Bold: above 0, "
        f"{significance_note(rows, 'systems, additions and metrics')}."
    )
    heads = ("model", "lost", "n", *(f"{metric_info(m).label}\ncost" for m in shown))
    return (
        Table(f"{PROTOCOL} protocol: what losing a modality costs (95 % interval)", heads, tuple(lines), notes=(note,)),
    )


def _available(row: dict[str, Any]) -> int:
    """How many modalities are available after the addition."""
    return str(row["subset"]).count("+") + 2
