"""Differences between systems with confidence intervals and p-values: a paired bootstrap over test samples.

Every system is compared with a reference: the model ``imder``, or else the first. In each resample
(`imder.benchmarking.resampled`) the metric is averaged over draws and over the seeds that both systems have; the interval is
that of the difference of the averages. It covers the variation over test samples, not over seeds, and holds for one
difference at a time: of twenty true zeros, about one lies outside its interval. P-values (`imder.benchmarking.p_values`) are
corrected for all the differences of a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from imder.benchmarking.bootstrap import Array, interval
from imder.benchmarking.p_values import Correction, is_significant, p_value, significance_note, with_correction
from imder.benchmarking.resampled import Key, Resampled, ResampledModels, compared_metrics
from imder.evaluation.formatting import metric_info, scale_of
from imder.evaluation.rendering import Table

RESAMPLES = 1000
SEED = 0
ROUNDING = 1e-5
"""The share of a metric up to which a difference is due to rounding: systems of equal formulas differ by less."""
PLAIN = "late-fusion"
"""The strongest plain system, from which the pictures of differences over the missing rate start."""


def main_reference(measured: ResampledModels) -> str:
    """The system that others are compared with unless another is named: ``imder``, or else the first."""
    return "imder" if "imder" in measured.by_seed else next(iter(measured.by_seed), "")


def compare(measured: ResampledModels, reference: str = "", correction: Correction = "holm") -> list[dict[str, Any]]:
    """Differences of each model from the reference, with 95 % intervals and p-values.

    Args:
        measured: metrics in every resample.
        reference: one of the models; empty for `main_reference`.
        correction: of the p-values, within each protocol.

    Returns:
        A row for each (protocol, setting, model, metric), with ``effective_rate`` (None where the protocol has no rates),
        ``difference``, ``low``, ``high``, ``defined`` (the share of resamples in which the metric was defined), ``p`` and,
        corrected, ``p_holm``; nothing where there is one model.
    """
    rows = [_row(measured, *difference) for difference in differences(measured, reference)]
    return with_correction(rows, ("protocol",), correction)


def comparison_rows(measured: ResampledModels, model: str, reference: str) -> list[dict[str, Any]]:
    """Differences of one model from another, as rows of `compare` without a correction; none without a common seed."""
    return [_row(measured, *difference) for difference in _between(measured, model, reference)]


def differences(measured: ResampledModels, reference: str = "") -> Iterator[tuple[dict[str, Any], Key, str, Array]]:
    """Yields the differences ``(B,)`` of each model from the reference, for each setting and metric.

    Metrics are averaged over the draws and over the seeds that both have.
    """
    if not measured.by_seed:
        return
    reference = reference or main_reference(measured)
    theirs = measured.by_seed[reference]
    for model in measured.by_seed:
        if model != reference:
            yield from _between(measured, model, reference)
    for name, ensemble in measured.ensembles.items() if theirs else ():
        about = {"model": name, "reference": reference, "seeds": len(theirs)}
        yield from _apart(measured.convention, about, *measured.paired([ensemble], list(theirs.values())))


def _between(measured: ResampledModels, model: str, reference: str) -> Iterator[tuple[dict[str, Any], Key, str, Array]]:
    mine, theirs = measured.by_seed[model], measured.by_seed[reference]
    seeds = sorted(mine.keys() & theirs.keys())
    if seeds:
        both = measured.paired([mine[seed] for seed in seeds], [theirs[seed] for seed in seeds])
        yield from _apart(measured.convention, {"model": model, "reference": reference, "seeds": len(seeds)}, *both)


def _apart(
    convention: str, about: dict[str, Any], mine: Resampled, theirs: Resampled
) -> Iterator[tuple[dict[str, Any], Key, str, Array]]:
    for key in [key for key in mine if key in theirs]:
        for metric in compared_metrics(convention):
            yield about, key, metric, _difference(mine[key][metric], theirs[key][metric])


def _difference(mine: Array, theirs: Array) -> Array:
    """The difference ``(B,)`` of two metrics, 0 where it is one of `ROUNDING`."""
    difference = mine - theirs
    return np.where(np.abs(difference) <= ROUNDING * np.maximum(np.abs(mine), np.abs(theirs)), 0.0, difference)


def _row(measured: ResampledModels, about: dict[str, Any], key: Key, metric: str, difference: Array) -> dict[str, Any]:
    """A row from differences ``(B,)``: the first is that of the sample itself, the others of its resamples."""
    low, high, defined = interval(difference)
    return about | {
        "protocol": key[0],
        "rate": key[1],
        "effective_rate": None if key[1] is None else measured.rates[key[0], key[1]],
        "available": key[2],
        "metric": metric,
        "difference": float(difference[0]),
        "low": low,
        "high": high,
        "defined": defined,
        "p": p_value(difference, measured.clusters),
    }


def comparison_tables(rows: Sequence[dict[str, Any]], words: str, *, brief: bool = False) -> tuple[Table, ...]:
    """A table for each protocol: differences with intervals, bold where the system is better and the difference significant.

    Args:
        rows: of `compare`.
        words: what was resampled (`imder.benchmarking.resampled.ClusteredTests.resampling`).
        brief: averages over settings alone, a line for each system.
    """
    tables = []
    for protocol in dict.fromkeys(row["protocol"] for row in rows):
        every = mine = [row for row in rows if row["protocol"] == protocol]
        reference = mine[0]["reference"]
        if brief and any(row["available"].startswith("average") for row in mine):
            mine = [row for row in mine if row["available"].startswith("average")]
        cells: dict[str, dict[str, tuple[str, bool]]] = {}
        for row in mine:
            setting = row["available"] or ("natural" if row["rate"] is None else f"{row['rate']:.2g}")
            label = metric_info(row["metric"]).label
            line, column = (row["model"], label) if brief else (setting, f"{row['model']}\n{label}")
            cells.setdefault(line, {})[column] = interval_text(row)
        columns = list(dict.fromkeys(column for line in cells.values() for column in line))
        lines = (
            ((name, False), *(line.get(column, ("–", False)) for column in columns)) for name, line in cells.items()
        )
        of = f", {mine[0]['available']}" if brief and mine[0]["available"] else ""
        note = (
            f"Paired bootstrap, {words}; metrics are averaged over seeds and draws in each resample. Bold: better than "
            f"{reference}, {significance_note(every, 'systems, settings and metrics of this protocol')}. Each interval holds for "
            "one difference."
        )
        title = f"{protocol} protocol{of}: difference from {reference} (95 % interval)"
        heads = ("model" if brief else "setting", *columns)
        tables.append(Table(title, heads, tuple(lines), notes=(note,)))
    return tuple(tables)


def interval_text(row: Mapping[str, Any]) -> tuple[str, bool]:
    """The text of a difference with its interval, and whether the system is significantly better."""
    if np.isnan(row["difference"]):
        return "–", False
    scale, digits = scale_of(row["metric"])
    # One digit more where an end would read 0 and isn't: on which side it lies is what an interval is read for.
    digits += any(row[k] != 0 and round(scale * row[k], digits) == 0 for k in ("low", "high"))
    values = [round(scale * row[k], digits) + 0.0 for k in ("difference", "low", "high")]
    text = "{:+.{d}f} [{:+.{d}f}, {:+.{d}f}]".format(*values, d=digits)
    better = (row["difference"] > 0) == metric_info(row["metric"]).higher_is_better
    return text, better and is_significant(row)
