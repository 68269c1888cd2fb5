"""Uncertainty: whether intervals and prediction sets hold the share of the labels that they promise, and how wide they are."""

from __future__ import annotations

from imder.calibration.describe import LEVEL
from imder.evaluation.tables import uncertainty_metrics
from imder.missingness.protocols import PROTOCOLS
from imder.report.content import DataTable, Exhibit, Section
from imder.report.missing_sections import value_exhibits
from imder.report.results import Results, of_protocol
from imder.report.tables import values_table


def uncertainty_section(results: Results, more: tuple[Exhibit, ...] = ()) -> Section | None:
    """Coverage against the promise; None where no system is calibrated.

    Args:
        results: of an evaluation.
        more: figures put first.
    """
    shown = uncertainty_metrics(results.summary)
    if not shown:
        return None
    exhibits, tables = list(more), []
    for protocol in results.protocols:
        if PROTOCOLS[protocol].has_rates:
            for metric in shown[:2]:  # coverage, and the width of intervals or the size of sets
                exhibits += value_exhibits(results, protocol, metric)
        rows = [*of_protocol(results.means, protocol), *of_protocol(results.summary, protocol)]
        rows = [row for row in rows if any(metric in row for metric in shown)]
        tables.append(
            DataTable(
                "Coverage should be the promise; of two systems that keep it, the one with narrower intervals or smaller sets "
                "is better.",
                values_table(
                    f"Uncertainty, {protocol} protocol",
                    rows,
                    "missing rate" if PROTOCOLS[protocol].has_rates else "available",
                    shown,
                ),
                folded=True,
            )
        )
    kind = "sets of classes" if results.convention == "classification" else "intervals"
    words = (
        f"Calibrated systems give {kind} that should hold the label in {100 * LEVEL:g} % of the cases. Calibration used the "
        "validation split; coverage here is that of the test split."
    )
    return Section(
        "Uncertainty: coverage against the promise", (words,), exhibits=tuple(exhibits), tables=tuple(tables)
    )
