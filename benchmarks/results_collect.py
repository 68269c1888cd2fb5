"""Write the CSV files of ``docs/results`` from the folder of a benchmark.

python benchmarks/results_collect.py FOLDER NAME

FOLDER is the ``--out`` of ``imder benchmark``, NAME the table of ``docs/results/benchmarks.toml`` that says how it was made.
Numbers are rounded as in the benchmark's own tables.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from results_data import FOLDER, LABELS

from imder.benchmarking.folder import BenchmarkFolder
from imder.evaluation.formatting import metric_info, scale_of
from imder.evaluation.results import averages, read_csv, summarise

ROUNDING = 1e-7
"""What single precision makes of a zero."""
Row = Mapping[str, Any]


def values(folder: Path) -> list[dict[str, str]]:
    """Mean and deviation of each system, setting and metric."""
    rows = read_csv(folder / "results.csv")
    summary = [*summarise(rows), *averages(rows)]
    varies = {p for p in {r["protocol"] for r in summary} if len({r["n"] for r in summary if r["protocol"] == p}) > 1}
    out = []
    for row in summary:
        about = {
            "protocol": row["protocol"],
            "setting": setting(row),
            "effective_rate": "" if row["rate"] is None else f"{row['effective_rate']:.3f}",
            "n": f"{row['n']:.0f}" if row["protocol"] in varies and not row["available"].startswith("average") else "",
        }
        for metric in (m for m in LABELS if m in row and not np.isnan(row[m])):
            scale, digits = scale_of(metric)
            mean, deviation = (scale * row[key] for key in (metric, f"{metric}_sd"))
            shown = {
                "mean": f"{mean:.{digits}f}",
                "deviation": "" if np.isnan(deviation) else f"{deviation:.{digits}f}",
            }
            out.append(about | {"metric": metric, "system": row["model"]} | shown)
    return in_order(out)


def differences(folder: Path) -> list[dict[str, str]]:
    """Paired differences from each reference, with their intervals."""
    out = []
    for row in _read(folder / "significance.csv"):
        if row["difference"] != "nan":
            about = {
                "protocol": row["protocol"],
                "setting": setting(row),
                "metric": row["metric"],
                "system": row["model"],
            }
            out.append(about | signed(row, ("difference", "low", "high")) | {"reference": row["reference"]})
    return in_order(out)


def additions(folder: Path) -> list[dict[str, str]]:
    """What adding a modality to a subset costs each system, with intervals."""
    keys = ("subset", "added", "metric", "n")
    return [
        {"system": row["model"]} | {key: row[key] for key in keys} | signed(row, ("loss", "low", "high"))
        for row in _read(folder / "additions.csv")
        if row["loss"] != "nan"
    ]


def clusters(folder: Path) -> list[dict[str, str]]:
    """On how many speakers or dialogues each system is better than the reference, on average over settings."""
    out = []
    for kind in ("speakers", "dialogues"):
        groups: dict[tuple[str, ...], list[float]] = {}
        rows = _read(folder / f"{kind}.csv")
        averaged = {row["protocol"] for row in rows if row["available"].startswith("average")}
        for row in rows:
            if row["available"].startswith("average") or row["protocol"] not in averaged:
                groups.setdefault((row["protocol"], row["metric"], row["model"]), []).append(float(row["difference"]))
        for (protocol, metric, system), by_cluster in groups.items():
            array = np.array(by_cluster)[~np.isnan(by_cluster)]
            if len(array) < 2:
                continue
            scale, digits = scale_of(metric)
            better = (array > 0).sum() if metric_info(metric).higher_is_better else (array < 0).sum()
            shown = {
                "difference": f"{scale * array.mean():+.{digits}f}",
                "deviation": f"{scale * array.std(ddof=1):.{digits}f}",
            }
            counts = {"better": f"{better}", "clusters": f"{len(array)}", "kind": kind}
            out.append({"protocol": protocol, "metric": metric, "system": system} | shown | counts)
    return out


def runs(folder: Path) -> list[dict[str, str]]:
    """For each system its seconds of training, recovery R^2 on the test split and weights of recovery, over its trainings."""
    if not (folder / "benchmark.json").exists():
        return []
    opened = BenchmarkFolder(folder)
    measured: dict[tuple[str, str, str], list[float]] = {}
    for cell in opened.plan().cells():
        about = opened.about(cell)
        if about is None:
            continue
        weights = json.loads((opened.run(cell) / "metrics.json").read_text()).get("recovery_weights") or {}
        numbers = {
            ("training seconds", ""): about["training_seconds"],
            **{("recovery R^2", name): value for name, value in (about.get("recovery_r2") or {}).items()},
            **{("weight of recovery", name): value for name, value in weights.items()},
        }
        for (measure, of), number in numbers.items():
            measured.setdefault((measure, cell.model, of), []).append(float(number))
    out = []
    for (measure, system, of), numbers_of in measured.items():
        digits = 0 if measure == "training seconds" else 2
        deviation = f"{np.std(numbers_of, ddof=1):.{digits}f}" if len(numbers_of) > 1 else ""
        shown = {"mean": f"{round(np.mean(numbers_of), digits) + 0.0:.{digits}f}", "deviation": deviation}
        out.append({"measure": measure, "system": system, "of": of} | shown | {"trainings": f"{len(numbers_of)}"})
    return sorted(out, key=lambda row: row["measure"])


def setting(row: Row) -> str:
    """A rate, a subset, an average or ``natural``."""
    return row["available"] or ("natural" if row["rate"] in (None, "") else f"{float(row['rate']):g}")


def signed(row: Row, keys: Sequence[str]) -> dict[str, str]:
    """Numbers with their signs; one digit more where an end of the interval would read 0 and isn't."""
    scale, digits = scale_of(row["metric"])
    numbers = {key: scale * float(row[key]) for key in keys}
    digits += any(abs(numbers[key]) > ROUNDING and round(numbers[key], digits) == 0 for key in ("low", "high"))
    return {key: f"{round(number, digits) + 0.0:+.{digits}f}" for key, number in numbers.items()}


def in_order(rows: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """By protocol and setting, in the order of the benchmark; within a setting by metric."""
    rows = list(rows)
    protocols, settings, metrics = (
        list(dict.fromkeys(row[key] for row in rows)) for key in ("protocol", "setting", "metric")
    )
    shown = [*(m for m in LABELS if m in metrics), *(m for m in metrics if m not in LABELS)]
    return sorted(
        rows, key=lambda r: (protocols.index(r["protocol"]), settings.index(r["setting"]), shown.index(r["metric"]))
    )


def collect(folder: Path, name: str, out: Path = FOLDER) -> list[Path]:
    """Write the files that the benchmark has rows for; returns them."""
    made = {
        f"{name}.csv": values(folder),
        f"{name}-differences.csv": differences(folder),
        f"{name}-additions.csv": additions(folder),
        f"{name}-clusters.csv": clusters(folder),
        f"{name}-runs.csv": runs(folder),
    }
    paths = []
    for file, rows in made.items():
        if rows:
            paths.append(out / file)
            with paths[-1].open("w", newline="", encoding="utf-8") as opened:
                writer = csv.DictWriter(opened, list(rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
    return paths


def _read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main(words: Sequence[str] | None = None) -> None:
    """Collect one benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args(words)
    for path in collect(options.folder, options.name, options.out):
        print(path)


if __name__ == "__main__":
    main()
