"""The tables of ``docs/tables.md``: published values beside measured ones, in columns of their own.

``published.csv`` holds the values that the papers print for the random protocol.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping

from results_data import FOLDER, read_results
from results_tables import between_marks, table

RATES = ("0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7")
CELL = ("acc2", "f1", "acc7")
PUBLISHED = ("imder", "mmin")
MEASURED = ("paper-mosi", "official-mosi", "mmin", "gcnet", "emt-dlfr", "lnln", "imder")


def published(text: str) -> str:
    """The page with its tables made again, each between marks with its name."""
    for name, made in {"paper": papers, "random": random, "losses": losses}.items():
        text = between_marks(text, name, made())
    return text


def printed() -> Mapping[tuple[str, str, str, str], str]:
    """(system, corpus, rate, metric) -> the printed value."""
    with (FOLDER / "published.csv").open(newline="", encoding="utf-8") as file:
        return {(r["system"], r["corpus"], r["rate"], r["metric"]): r["value"] for r in csv.DictReader(file)}


def papers() -> str:
    """What the paper prints, ACC2 / F1 / ACC7."""
    values = printed()
    columns = [("imder", "mosi"), ("mmin", "mosi"), ("imder", "mosei"), ("mmin", "mosei"), ("imder", "sims")]
    rows = [
        [rate, *(" / ".join(values[s, c, rate, m] for m in CELL if (s, c, rate, m) in values) for s, c in columns)]
        for rate in RATES
    ]
    heads = ["IMDer, MOSI", "MMIN, MOSI", "IMDer, MOSEI", "MMIN, MOSEI", "IMDer, CH-SIMS: ACC2"]
    return table(["MR", *heads], rows)


def random() -> str:
    """What was measured here on the same metrics."""
    results = read_results("mosi_complete")
    shown = [s for s in MEASURED if s in results.systems()]
    rows = []
    for rate in (*RATES, "average"):
        cells = [" / ".join(results.values["random", rate, m, s][0] for m in CELL) for s in shown]
        rows.append([rate, *cells])
    return table(["MR", *(f"`{s}`" for s in shown)], rows)


def losses() -> str:
    """Percentage points of ACC2 that each system loses from MR 0 on: printed, and measured here."""
    values, results = printed(), read_results("mosi_complete")
    shown = [s for s in ("paper-mosi", "official-mosi", "mmin", "gcnet", "imder") if s in results.systems()]
    rows = []
    for rate in RATES[1:]:
        lost = [float(values[s, "mosi", "0", "acc2"]) - float(values[s, "mosi", rate, "acc2"]) for s in PUBLISHED]
        lost += [
            float(results.values["random", "0", "acc2", s][0]) - float(results.values["random", rate, "acc2", s][0])
            for s in shown
        ]
        rows.append([rate, *(f"{points:.1f}" for points in lost)])
    heads = [*(f"{s}, printed" for s in ("IMDer", "MMIN")), *(f"`{s}`, here" for s in shown)]
    return table(["MR", *heads], rows)
