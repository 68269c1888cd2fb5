"""Recovery: how much it counts in predictions, and how much of the true encodings it explains, for each pattern."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imder.evaluation.rendering import Table
from imder.report.content import DataTable, Exhibit, Section
from imder.report.recovery_figures import LEAST_R2, recovery_figure
from imder.report.results import legend

MOST_SYSTEMS = 4
"""Systems with a figure each; the table has all."""


@dataclass(frozen=True)
class Recovery:
    """What is known of a system's recovery.

    Attributes:
        system: its name.
        weights: of the recovery branch, by pattern of availability.
        r2: recovery R^2 on the test split, by ``modality | pattern`` and by modality.
    """

    system: str
    weights: Mapping[str, float]
    r2: Mapping[str, float]


def recovery_section(
    recoveries: Sequence[Recovery], modalities: Sequence[str], short: Mapping[str, str], split: str
) -> Section | None:
    """The recoveries of each system; None where none recovers.

    Args:
        recoveries: of each system.
        modalities: the K names.
        short: for each pattern its label.
        split: on which R^2 was measured.
    """
    if not recoveries:
        return None
    exhibits = [
        Exhibit(
            f"recovery-{number}",
            f"{recovery.system}: weight and R² of recovery",
            f"Left: how much recoveries count in predictions for each pattern of available modalities ({legend(short)}), from 0 "
            "(not used) to 1. Right: R² of the recovered encodings of what is missing; 1 is exact, 0 no better than the mean"
            f"{_arrows(recovery)}.",
            recovery_figure(recovery.weights, recovery.r2, modalities, short),
        )
        for number, recovery in enumerate(recoveries[:MOST_SYSTEMS])
    ]
    unused = [
        r.system for r in recoveries if not any(w for p, w in r.weights.items() if p in incomplete(short, modalities))
    ]
    words = (
        "The weight of recovery was chosen on the validation split for each pattern; 0 means that it didn't help there."
    )
    if unused:
        words += f" No recovery enters a prediction of {', '.join(unused)}."
    return Section(
        "Recovery: what it explains, and how much it counts",
        (words,),
        exhibits=tuple(exhibits),
        tables=(
            DataTable(
                f"R² is measured on the {split} split.",
                _table(recoveries, modalities, short),
                folded=len(recoveries) > 1,
            ),
        ),
    )


def incomplete(short: Mapping[str, str], modalities: Sequence[str]) -> list[str]:
    """The patterns that lack a modality."""
    return [pattern for pattern in short if pattern.count("+") + 1 < len(modalities)]


def _arrows(recovery: Recovery) -> str:
    below = any(value < LEAST_R2 for name, value in recovery.r2.items() if "|" in name)
    return f"; arrows mark values below {LEAST_R2:g}" if below else ""


def _table(recoveries: Sequence[Recovery], modalities: Sequence[str], short: Mapping[str, str]) -> Table:
    lines = [
        (
            recovery.system,
            pattern,
            f"{recovery.weights[pattern]:.2f}" if pattern in recovery.weights else "–",
            *(f"{v:.2f}" if (v := recovery.r2.get(f"{m} | {pattern}")) is not None else "" for m in modalities),
        )
        for recovery in recoveries
        for pattern in incomplete(short, modalities)
    ]
    rows = tuple(tuple((text, False) for text in line) for line in lines)
    return Table(
        "Recovery by pattern", ("system", "available", "weight", *(f"R² {m}" for m in modalities)), rows, lead=2
    )
