"""What a benchmark's cells recorded of recovery, averaged over trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from imder.report.benchmark_files import BenchmarkFiles
from imder.report.recovery_section import Recovery


def benchmark_recoveries(files: BenchmarkFiles) -> list[Recovery]:
    """Of each system that recovers."""
    out = []
    for model in files.models:
        about = [files.folder.about(cell) or {} for cell in files.finished if cell.model == model]
        r2 = _means([{k: float(v) for k, v in a["recovery_r2"].items()} for a in about if a.get("recovery_r2")])
        if r2:
            out.append(Recovery(model, _weights(files, model), r2))
    return out


def _weights(files: BenchmarkFiles, model: str) -> dict[str, float]:
    """By pattern: from the rows of the fixed protocol, whose samples all have one pattern, or else from the runs."""
    rows = [r for r in files.rows if r["model"] == model and r["available"] and r.get("recovery_weight") is not None]
    if rows:
        return _means([{row["available"]: float(row["recovery_weight"])} for row in rows])
    return _means([run.metrics()["recovery_weights"] for run in files.runs(model)])


def _means(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """For each key the mean over the mappings that have it."""
    keys = dict.fromkeys(key for part in parts for key in part)
    return {key: fmean(part[key] for part in parts if key in part) for key in keys}
