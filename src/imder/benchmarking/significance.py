"""Differences between systems with confidence intervals: a paired bootstrap over test samples.

Every system is compared with the reference, the model ``imder`` or else the first. In each resample
(`imder.benchmarking.bootstrap`) the metric is averaged over draws and over the seeds that both systems have; the interval is
that of the difference of the averages. It covers the variation over test samples, not over seeds, and holds for one
difference at a time: of twenty true zeros, about one lies outside its interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder import metrics
from imder.benchmarking.bootstrap import cluster_weights
from imder.benchmarking.ensemble import ensembles
from imder.benchmarking.folder import BenchmarkFolder
from imder.benchmarking.folds import fold_of, rotation_groups
from imder.benchmarking.plan import GridCell, Plan
from imder.data.corpus import Corpus, Split
from imder.evaluation.formatting import metric_info, scale_of
from imder.evaluation.rendering import Table
from imder.evaluation.results import condition_weights
from imder.types import ImderError

RESAMPLES = 1000
SEED = 0
FEW = 20  # clusters; with fewer, intervals are too narrow
Array = NDArray[np.float64]
Key = tuple[str, float | None, str]
"""Protocol, rate and fixed subset."""
Resampled = dict[Key, dict[str, Array]]
"""For each setting its metrics, (1 + resamples,)."""


def clusters_of(split: Split) -> tuple[list[str], str]:
    """The groups that the bootstrap resamples, ``(N,)`` names, and their kind: dialogues, else speakers, else samples.

    A sample without a name is a cluster of its own.

    >>> clusters_of(Split(("a", "b", "c"), {}, dialogue=("x", "x", "")))
    (['x', 'x', ' c'], 'dialogues')
    """
    for names, what in ((split.dialogue, "dialogues"), (split.speaker, "speakers")):
        if names is not None and any(names):
            return [name or f" {i}" for name, i in zip(names, split.ids, strict=True)], what
    return list(split.ids), "samples"


def compare(
    folder: BenchmarkFolder, corpus: Corpus, plan: Plan, cells: Sequence[GridCell], *, resamples: int = RESAMPLES
) -> tuple[list[dict[str, Any]], str]:
    """Differences of each model from the reference, with 95 % intervals.

    Args:
        folder: the benchmark's folder.
        corpus: of the benchmark.
        plan: its plan.
        cells: finished ones.
        resamples: number of bootstrap resamples.

    Returns:
        A row for each (protocol, setting, model, metric), with ``difference``, ``low``, ``high`` and ``defined`` (the share
        of resamples in which the metric was defined); and a description of the resampling.
    """
    tests = clustered_tests(corpus, plan)
    names, what = tests.clusters
    weights = cluster_weights(names, resamples, SEED)
    rows = [
        about | _row(key, metric, measured)
        for about, key, metric, measured in differences(folder, plan, cells, tests, weights)
    ]
    if not rows:
        return [], ""
    count = len(set(names))
    words = f"{resamples} resamples of {count} {what}"
    if plan.shared.folds:  # tables of metrics average over rotations instead: shares agree, correlations needn't
        words += ", the test samples of all rotations together"
    return rows, words + (f"; so few {what} make intervals too narrow" if count < FEW else "")


@dataclass(frozen=True)
class ClusteredTests:
    """The test samples of a benchmark, rotation by rotation.

    Attributes:
        splits: for each rotation (None: there is none) its test split.
        clusters: `clusters_of` all of them.
    """

    splits: dict[int | None, Split]
    clusters: tuple[list[str], str]


def clustered_tests(corpus: Corpus, plan: Plan) -> ClusteredTests:
    """The test samples of a plan."""
    folds = range(plan.shared.folds) if plan.shared.folds else [None]
    splits = {f: corpus["test"] if f is None else fold_of(corpus, f, plan.shared.folds)["test"] for f in folds}
    by_speaker = plan.shared.folds > 0 and rotation_groups(corpus) == "speakers"
    named = [clusters_of(replace(split, dialogue=None) if by_speaker else split) for split in splits.values()]
    return ClusteredTests(splits, ([name for part, _ in named for name in part], named[0][1]))


def differences(
    folder: BenchmarkFolder, plan: Plan, cells: Sequence[GridCell], tests: ClusteredTests, weights: Array
) -> Iterator[tuple[dict[str, Any], Key, str, Array]]:
    """Yields the differences ``(B,)`` of each model from the reference, for each setting and metric, under weights ``(B, N)``.

    Metrics are averaged over the draws and over the seeds that both have.
    """
    models = [m for m in plan.models if any(c.model == m for c in cells)]
    if len(models) < 2:
        return
    reference = "imder" if "imder" in models else models[0]
    labels = np.concatenate([np.asarray(test.labels) for test in tests.splits.values()])
    rates = _effective(folder, cells)
    by_model: dict[str, dict[int, Resampled]] = {}
    ensembled: dict[str, Resampled] = {}
    for model in models:
        predicted = _by_seed(folder, plan, [c for c in cells if c.model == model], tests.splits)
        by_model[model] = {seed: _resampled(plan, measured, labels, weights) for seed, measured in predicted.items()}
        for name, base in ensembles(plan, cells).items():
            if base == model:
                mean = {k: np.mean([measured[k] for measured in predicted.values()], axis=0) for k in predicted[0]}
                ensembled[name] = _resampled(plan, mean, labels, weights)
    for model in models:
        common = sorted(by_model[model].keys() & by_model[reference].keys())
        if model != reference and common:
            both = [[by_model[m][seed] for seed in common] for m in (model, reference)]
            mine, theirs = (_averaged(seeds, rates) for seeds in _shared(*both))
            yield from _apart(plan, {"model": model, "reference": reference, "seeds": len(common)}, mine, theirs)
    for name, measured in ensembled.items() if by_model[reference] else ():
        about = {"model": name, "reference": reference, "seeds": len(by_model[reference])}
        mine, theirs = (_averaged(s, rates) for s in _shared([measured], list(by_model[reference].values())))
        yield from _apart(plan, about, mine, theirs)


def _shared(*seeds: Sequence[Resampled]) -> list[list[Resampled]]:
    """Each restricted to the settings that all have, so that averages are of the same ones."""
    everything = [measured for some in seeds for measured in some]
    keys = [key for key in everything[0] if all(key in measured for measured in everything)]
    return [[{key: measured[key] for key in keys} for measured in some] for some in seeds]


def _apart(
    plan: Plan, about: dict[str, Any], mine: Resampled, theirs: Resampled
) -> Iterator[tuple[dict[str, Any], Key, str, Array]]:
    for key in [key for key in mine if key in theirs]:
        for metric in metrics.names_of(plan.shared.convention, "comparison"):
            yield about, key, metric, mine[key][metric] - theirs[key][metric]


def _effective(folder: BenchmarkFolder, cells: Sequence[GridCell]) -> dict[tuple[str, float | None], float]:
    """The effective missing rate of each protocol and rate, on average over draws and rotations."""
    measured: dict[tuple[str, float | None], list[float]] = {}
    for cell in cells:
        for row in folder.rows(cell):
            measured.setdefault((row["protocol"], row["rate"]), []).append(row["effective_rate"])
    return {key: float(np.mean(values)) for key, values in measured.items()}


def _by_seed(
    folder: BenchmarkFolder, plan: Plan, cells: Sequence[GridCell], tests: dict[int | None, Split]
) -> dict[int, dict[Key, NDArray[Any]]]:
    """For each seed that has every fold: for each setting the predictions (draws, N) or (draws, N, C) of all rotations."""
    out = {}
    for seed in sorted({cell.seed for cell in cells}):
        parts: dict[Key, dict[int | None, NDArray[Any]]] = {}
        for cell in cells:
            if cell.seed == seed:
                for key, values in _settings(folder, plan, cell, tests[cell.fold]).items():
                    parts.setdefault(key, {})[cell.fold] = values
        whole = {k: np.concatenate([p[f] for f in tests], axis=1) for k, p in parts.items() if p.keys() == tests.keys()}
        if whole:
            out[seed] = whole
    return out


def _resampled(plan: Plan, predicted: dict[Key, NDArray[Any]], labels: NDArray[Any], weights: Array) -> Resampled:
    """For each setting the metrics in every resample, averaged over draws."""
    convention, columns = plan.shared.convention, np.concatenate(list(predicted.values()))
    compared = metrics.names_of(convention, "comparison")
    every = metrics.evaluate_resamples(convention, columns, labels, weights, compared)
    ends = np.cumsum([len(values) for values in predicted.values()])[:-1]
    split = {metric: np.split(values, ends, axis=1) for metric, values in every.items()}
    return {k: {m: split[m][i].mean(1) for m in split} for i, k in enumerate(predicted)}


def _settings(folder: BenchmarkFolder, plan: Plan, cell: GridCell, test: Split) -> dict[Key, NDArray[Any]]:
    """A cell's predictions of each setting, (draws, N) or (draws, N, C)."""
    arrays = folder.predictions(cell)
    if tuple(arrays["ids"].tolist()) != test.ids:
        raise ImderError(f"{folder.file(cell, 'npz')}: the predictions are of other samples than the corpus has now")
    out: dict[Key, list[NDArray[Any]]] = {}
    for protocol in plan.protocols:
        about = zip(arrays[f"{protocol}_rate"].tolist(), arrays[f"{protocol}_available"].tolist(), strict=True)
        for (rate, available), values in zip(about, arrays[protocol], strict=True):
            if np.isnan(rate) or rate in plan.rates:
                out.setdefault((protocol, None if np.isnan(rate) else rate, available), []).append(values)
    return {key: np.stack(values) for key, values in out.items()}


def _averaged(seeds: Sequence[Resampled], rates: Mapping[tuple[str, float | None], float]) -> Resampled:
    """Over seeds, which have the same settings; then over settings, as `imder.evaluation.results.averages` does."""
    keys = list(seeds[0])
    out = {k: {m: np.mean([s[k][m] for s in seeds], axis=0) for m in seeds[0][k]} for k in keys}
    for protocol in dict.fromkeys(key[0] for key in keys):
        mine = [key for key in keys if key[0] == protocol]
        longest = max(len(key[2].split("+")) if key[2] else 0 for key in mine)
        mine = [key for key in mine if not longest or len(key[2].split("+")) < longest]
        if len(mine) > 1:
            name = "average, incomplete" if longest else "average"
            weights = condition_weights(protocol, [rates[k[0], k[1]] for k in mine])
            out[protocol, None, name] = {
                m: np.average([out[k][m] for k in mine], axis=0, weights=weights) for m in out[mine[0]]
            }
    return out


def _row(key: Key, metric: str, difference: Array) -> dict[str, Any]:
    """A row from differences ``(B,)``: the first is that of the sample itself, the others of its resamples."""
    defined = difference[1:][~np.isnan(difference[1:])]
    low, high = np.quantile(defined, [0.025, 0.975]).tolist() if len(defined) else (float("nan"), float("nan"))
    return {
        "protocol": key[0],
        "rate": key[1],
        "available": key[2],
        "metric": metric,
        "difference": float(difference[0]),
        "low": low,
        "high": high,
        "defined": len(defined) / max(1, len(difference) - 1),
    }


def comparison_tables(rows: Sequence[dict[str, Any]], words: str, *, brief: bool = False) -> tuple[Table, ...]:
    """A table for each protocol: differences with intervals, bold where 0 lies outside and the system is the better one.

    Args:
        rows: of `compare`.
        words: of `compare`: what was resampled.
        brief: averages over settings alone, a line for each system.
    """
    tables = []
    for protocol in dict.fromkeys(row["protocol"] for row in rows):
        mine = [row for row in rows if row["protocol"] == protocol]
        reference = mine[0]["reference"]
        if brief and any(row["available"].startswith("average") for row in mine):
            mine = [row for row in mine if row["available"].startswith("average")]
        cells: dict[str, dict[str, tuple[str, bool]]] = {}
        for row in mine:
            setting = row["available"] or ("natural" if row["rate"] is None else f"{row['rate']:.2g}")
            label = metric_info(row["metric"]).label
            line, column = (row["model"], label) if brief else (setting, f"{row['model']}\n{label}")
            cells.setdefault(line, {})[column] = _text(row)
        columns = list(dict.fromkeys(column for line in cells.values() for column in line))
        lines = (
            ((name, False), *(line.get(column, ("–", False)) for column in columns)) for name, line in cells.items()
        )
        of = f", {mine[0]['available']}" if brief and mine[0]["available"] else ""
        note = (
            f"Paired bootstrap, {words}; metrics are averaged over seeds and draws in each resample. Bold: better than "
            f"{reference}, the interval without 0. Intervals aren't corrected for multiple comparisons."
        )
        title = f"{protocol} protocol{of}: difference from {reference} (95 % interval)"
        heads = ("model" if brief else "setting", *columns)
        tables.append(Table(title, heads, tuple(lines), notes=(note,)))
    return tuple(tables)


def _text(row: dict[str, Any]) -> tuple[str, bool]:
    if np.isnan(row["difference"]):
        return "–", False
    scale, digits = scale_of(row["metric"])
    # One digit more where an end would read 0 and isn't: on which side it lies is what an interval is read for.
    digits += any(row[k] != 0 and round(scale * row[k], digits) == 0 for k in ("low", "high"))
    values = [round(scale * row[k], digits) + 0.0 for k in ("difference", "low", "high")]
    text = "{:+.{d}f} [{:+.{d}f}, {:+.{d}f}]".format(*values, d=digits)
    better = row["low"] > 0 if metric_info(row["metric"]).higher_is_better else row["high"] < 0
    return text, bool(better)
