"""The measured results in ``docs/results`` as CSV, written by ``benchmarks/results_collect.py``.

``NAME.csv`` holds a mean and a deviation for each protocol, setting, metric and system; ``NAME-differences.csv`` the paired
difference of each system from a reference (``imder``, where there is no such column) with its 95 % interval;
``NAME-additions.csv`` what adding a modality costs; ``NAME-clusters.csv`` how many speakers or videos agree;
``NAME-runs.csv`` seconds of training, recovery R^2 and the weights of recovery.
"""

from __future__ import annotations

import csv
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "docs" / "results"
LABELS = {
    "accuracy": "accuracy, %",
    "macro_f1": "macro F1, %",
    "nll": "NLL",
    "acc2": "ACC2, %",
    "f1": "F1, %",
    "acc7": "ACC7, %",
    "mae": "MAE",
    "corr": "correlation",
    "coverage": "coverage, %",
    "width": "width",
    "crps": "CRPS",
    "set_size": "set size",
    "selective_mae": "MAE of 80 %",
    "selective_error": "error of 80 %",
    "nll_calibrated": "NLL, calibrated",
    "ece_calibrated": "ECE, calibrated",
}
PLAIN = "late-fusion"
"""The second reference of differences."""
HIGHER_IS_BETTER = frozenset({"accuracy", "macro_f1", "acc2", "f1", "acc7", "corr"})
SYSTEMS = (
    "imder",
    "imder:past",
    "imder:no-context",
    "imder:one-member",
    "imder:complete",
    "imder:unconditional",
    "imder:mean",
    "imder:zero",
    "regression",
    "late-fusion:context",
    "late-fusion:past",
    "late-fusion:members",
    "late-fusion:one-member",
    "late-fusion",
    "zero-fill",
    "language-only",
    "ridge",
    "mmin",
    "mult",
    "gcnet",
    "emt-dlfr",
    "lnln",
    "paper-mosi",
    "official-mosi",
    "constant",
    "3 late-fusion",
    "3 imder",
    "2 late-fusion",
    "2 imder",
)
"""In the order of every table and picture."""


@dataclass(frozen=True)
class Results:
    """One benchmark.

    Attributes:
        name: of its files.
        about: title, corpus, command, minutes, seeds, what was resampled, notes.
        values: (protocol, setting, metric, system) -> (mean, deviation), as text; the deviation may be empty.
        reference: the system that others are compared with: imder, or late-fusion:context where that wasn't measured.
        differences: the same keys -> (difference from the reference, low, high), as text.
        from_plain: the same for differences from late fusion; empty where they were not measured.
        additions: (system, metric) -> for each addition of a modality (loss, low, high, subset, added), as text.
        clusters: (protocol, metric, system) -> (difference, deviation, better, clusters, kind), as text.
        samples: (protocol, setting) -> number of test samples, where it differs between settings.
        dropped: rate -> share of the cells that it drops, as text.
        runs: (measure, system) -> for each thing measured (mean over trainings, deviation), as text.
    """

    name: str
    about: dict[str, Any]
    values: dict[tuple[str, str, str, str], tuple[str, str]]
    reference: str
    differences: dict[tuple[str, str, str, str], tuple[str, str, str]]
    from_plain: dict[tuple[str, str, str, str], tuple[str, str, str]]
    additions: dict[tuple[str, str], list[tuple[str, str, str, str, str]]]
    clusters: dict[tuple[str, str, str], tuple[str, ...]]
    samples: dict[tuple[str, str], str]
    dropped: dict[str, str]
    runs: dict[tuple[str, str], dict[str, tuple[str, str]]]

    def settings(self, protocol: str) -> list[str]:
        """The settings of a protocol, in the order of the file."""
        return list(dict.fromkeys(key[1] for key in self.values if key[0] == protocol))

    def systems(self) -> list[str]:
        """The systems that were measured."""
        measured = {key[3] for key in self.values}
        return [name for name in SYSTEMS if name in measured]

    def metrics(self) -> list[str]:
        """The metrics that were measured, in the order of the tables."""
        measured = {key[2] for key in self.values}
        return [m for m in LABELS if m in measured]

    def compared_metrics(self) -> list[str]:
        """The metrics with paired differences."""
        measured = {key[2] for key in self.differences}
        return [m for m in LABELS if m in measured]

    def main_metric(self) -> str:
        """Accuracy, or MAE."""
        return next(m for m in ("accuracy", "mae") if m in self.metrics())

    def gain(self, protocol: str, setting: str, metric: str, system: str) -> tuple[float, float, float] | None:
        """The reference's gain over a system with its 95 % interval: positive where the reference is better."""
        if (key := (protocol, setting, metric, system)) not in self.differences:
            return None
        middle, low, high = (float(text) for text in self.differences[key])
        return (-middle, -high, -low) if metric in HIGHER_IS_BETTER else (middle, low, high)


def names(folder: Path = FOLDER) -> list[str]:
    """The benchmarks in a folder."""
    return list(tomllib.loads((folder / "benchmarks.toml").read_text(encoding="utf-8")))


def read_results(name: str, folder: Path = FOLDER) -> Results:
    """Read one benchmark's files."""
    about = tomllib.loads((folder / "benchmarks.toml").read_text(encoding="utf-8"))[name]
    values = _rows(folder / f"{name}.csv")
    differences = _rows(folder / f"{name}-differences.csv")
    additions: dict[tuple[str, str], list[tuple[str, str, str, str, str]]] = {}
    for row in _rows(folder / f"{name}-additions.csv"):
        entry = _pick(row, "loss", "low", "high", "subset", "added")
        additions.setdefault(_pick(row, "system", "metric"), []).append(entry)
    clusters = _rows(folder / f"{name}-clusters.csv")
    runs: dict[tuple[str, str], dict[str, tuple[str, str]]] = {}
    for row in _rows(folder / f"{name}-runs.csv"):
        runs.setdefault((row["measure"], row["system"]), {})[row["of"]] = (row["mean"], row["deviation"])
    references = [row.get("reference", "imder") for row in differences]
    main = next((reference for reference in references if reference != PLAIN), PLAIN)
    key = ("protocol", "setting", "metric", "system")
    return Results(
        name,
        about,
        {_pick(row, *key): _pick(row, "mean", "deviation") for row in values},
        main,
        *(
            {
                _pick(row, *key): _pick(row, "difference", "low", "high")
                for row in differences
                if row.get("reference", "imder") == reference
            }
            for reference in (main, PLAIN)
        ),
        additions,
        {
            _pick(row, "protocol", "metric", "system"): _pick(
                row, "difference", "deviation", "better", "clusters", "kind"
            )
            for row in clusters
        },
        {_pick(row, "protocol", "setting"): row["n"] for row in values if row["n"]},
        {row["setting"]: row["effective_rate"] for row in values if row["effective_rate"]},
        runs,
    )


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _pick(row: dict[str, str], *columns: str) -> tuple[str, ...]:
    return tuple(row[column] for column in columns)
