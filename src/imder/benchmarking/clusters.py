"""Differences between systems for each speaker, or dialogue.

With few clusters bootstrap intervals are unreliable; a count such as "better on 20 of 24 speakers" is easy to check. The
metrics are those of `imder.benchmarking.significance`, on each cluster's samples alone, averaged over seeds and draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from imder import metrics
from imder.benchmarking.bootstrap import Array
from imder.benchmarking.folder import BenchmarkFolder
from imder.benchmarking.plan import GridCell, Plan
from imder.benchmarking.resampled import ClusteredTests, Key, resample_models
from imder.benchmarking.significance import differences
from imder.evaluation.formatting import metric_info, scale_of
from imder.evaluation.rendering import Table

MAX_CLUSTERS = 100
"""Corpora with more clusters get no table of each."""


def by_cluster(
    folder: BenchmarkFolder, plan: Plan, cells: Sequence[GridCell], tests: ClusteredTests, reference: str = ""
) -> tuple[list[dict[str, Any]], str]:
    """Differences of each model from the reference for each speaker, or else dialogue, of the test samples.

    Args:
        folder: the benchmark's folder.
        plan: its plan.
        cells: finished ones.
        tests: its test samples.
        reference: one of the models; empty for `imder.benchmarking.significance.main_reference`.

    Returns:
        A row for each (protocol, setting, model, metric, cluster) with ``difference`` and the cluster's samples ``n``, and
        what clusters are; nothing where samples stand alone or there are too many clusters.
    """
    names, what = tests.clusters
    distinct = list(dict.fromkeys(names))
    if what == "samples" or not 1 < len(distinct) <= MAX_CLUSTERS:
        return [], what
    whose = np.array(names)
    weights: Array = np.stack([np.ones(len(names)), *((whose == name).astype(np.float64) for name in distinct)])
    rows = []
    measured = resample_models(folder, plan, cells, tests, weights)
    for about, key, metric, resampled in differences(measured, reference):
        for name, value in zip(distinct, resampled[1:].tolist(), strict=True):
            rows.append(about | _setting(key) | {"metric": metric, "cluster": name, "difference": value})
            rows[-1]["n"] = int((whose == name).sum())
    return rows, what


def _setting(key: Key) -> dict[str, Any]:
    return dict(zip(("protocol", "rate", "available"), key, strict=True))


def cluster_tables(rows: Sequence[dict[str, Any]], what: str, convention: str) -> tuple[Table, ...]:
    """For each protocol the average setting: mean and deviation over clusters, and on how many a system is better."""
    tables = []
    for protocol in dict.fromkeys(row["protocol"] for row in rows):
        mine = [row for row in rows if row["protocol"] == protocol]
        if any(row["available"].startswith("average") for row in mine):
            mine = [row for row in mine if row["available"].startswith("average")]
        names = metrics.names_of(convention, "comparison")
        reference, setting = mine[0]["reference"], mine[0]["available"]
        lines = []
        for model in dict.fromkeys(row["model"] for row in mine):
            line = [(model, False)]
            for metric in names:
                values = [r["difference"] for r in mine if r["model"] == model and r["metric"] == metric]
                line.append((_text(metric, np.array(values)), False))
            lines.append(tuple(line))
        count = len({row["cluster"] for row in mine})
        note = f"Mean and deviation over {count} {what}, and on how many of them the system is better than {reference}."
        of = f", {setting}" if setting else ""
        title = f"{protocol} protocol{of}: difference from {reference}, of each of the {what}"
        tables.append(Table(title, ("model", *(metric_info(m).label for m in names)), tuple(lines), notes=(note,)))
    return tuple(tables)


def _text(metric: str, values: Array) -> str:
    """Mean, deviation and how many are better.

    >>> _text("mae", np.array([-0.1, 0.3]))
    '+0.100 ± 0.283, better on 1 of 2'
    """
    values = values[~np.isnan(values)]
    if not len(values):
        return "–"
    scale, digits = scale_of(metric)
    better = int((values > 0).sum() if metric_info(metric).higher_is_better else (values < 0).sum())
    deviation = f" ± {scale * values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{scale * values.mean():+.{digits}f}{deviation}, better on {better} of {len(values)}"
