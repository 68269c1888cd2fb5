"""Tidy rows: CSV files, summaries and averages.

A row is one draw of one setting for one run of one system (`imder.evaluation.evaluate.COLUMNS` and the metrics). In CSV an
empty cell is None (a protocol without a rate) or an empty string; numbers are written so that they read back exactly.
Files are written atomically.

The spread of a metric is that of *one draw of one run*: variance between runs plus variance within them. With m_r the
mean of run r over its D draws and v_r the variance of these draws,

    sd^2 = var_r(m_r) + (1 - 1 / D) mean_r(v_r)

where var(m_r) already holds the 1 / D of the draws. One run: the deviation over draws. One draw: that over runs.
Neither: nan.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imder.evaluation.curve import summaries
from imder.evaluation.evaluate import COLUMNS
from imder.jobs.files import atomic_write
from imder.types import ImderError

Row = Mapping[str, Any]

GROUP = ("model", "corpus", "split", "protocol", "rate", "available")
"""Rows that agree in these are summarised together."""

_STRINGS = frozenset({"model", "run", "corpus", "split", "protocol", "available"})
_INTEGERS = frozenset({"draw", "seed", "n"})


def write_csv(rows: Sequence[Row], path: str | Path) -> None:
    """Write rows atomically. Rows may have different columns; missing values are empty.

    Raises:
        ImderError: there are no rows, or the file can't be written.
    """
    if not rows:
        raise ImderError(f"{path}: there are no rows to write")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: _text(v) for k, v in row.items()} for row in rows)


def _text(value: Any) -> str:
    """The shortest text that reads back as the same number."""
    if value is None:
        return ""
    return repr(float(value)) if isinstance(value, float | np.floating) else str(value)


def read_csv(path: str | Path) -> list[dict[str, Any]]:
    """The inverse of `write_csv` for results.

    Raises:
        ImderError: the file can't be read, or lacks a column of results.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            for column in COLUMNS:
                if column not in (reader.fieldnames or ()):
                    raise ImderError(f"{path}: no column {column!r}: not a file of results")
            return [_parsed(row, f"{path}: line {reader.line_num}") for row in reader]
    except OSError as error:
        raise ImderError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ImderError(f"{path}: not a CSV file ({error})") from None


def _parsed(row: Mapping[str | None, Any], where: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, text in row.items():
        if name is None or text is None:
            raise ImderError(f"{where}: a row of another length than the header")
        try:
            if name in _STRINGS:
                out[name] = text
            else:
                out[name] = None if text == "" else int(text) if name in _INTEGERS else float(text)
        except ValueError:
            raise ImderError(f"{where}: {name}: {text!r} is not a number") from None
    return out


def metric_names(rows: Sequence[Row]) -> list[str]:
    """The names of metrics in tidy or summarised rows, in order."""
    skip = {*COLUMNS, "runs", "draws", "recovery_weight"}
    names = dict.fromkeys(key for row in rows for key in row if key not in skip)
    return [name for name in names if not (name.endswith("_sd") and name[:-3] in names)]


def summarise(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Mean and standard deviation over draws and runs.

    Args:
        rows: tidy rows of any systems, runs, protocols and draws; (``run``, ``seed``) identifies a run.

    Returns:
        A row for each distinct `GROUP`, in order of appearance: its values; ``runs``, ``draws`` (of the run with the
        fewest); the means of ``effective_rate``, ``n`` and, for a system that recovers, ``recovery_weight``; and for each
        metric its mean under its name and its standard deviation (see above) under ``<metric>_sd``.

    >>> about = {"model": "m", "corpus": "c", "split": "test", "protocol": "random", "rate": 0.1, "available": ""}
    >>> rows = [about | {"run": "a", "seed": 0, "draw": d, "n": 9, "effective_rate": 0.1, "mae": d} for d in (1, 2, 3)]
    >>> [(row["mae"], row["mae_sd"], row["draws"]) for row in summarise(rows)]
    [(2.0, 1.0, 3)]
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in GROUP), []).append(row)
    out = []
    for values, members in groups.items():
        runs: dict[tuple[Any, Any], list[Row]] = {}
        for row in members:
            runs.setdefault((row["run"], row["seed"]), []).append(row)
        summary: dict[str, Any] = dict(zip(GROUP, values, strict=True))
        summary |= {"runs": len(runs), "draws": min(len(draws) for draws in runs.values())}
        for name in ("effective_rate", "n"):
            summary[name] = float(np.mean([row[name] for row in members]))
        if any("recovery_weight" in row for row in members):
            summary["recovery_weight"] = float(np.mean([_number(row.get("recovery_weight")) for row in members]))
        for name in metric_names(members):
            by_run = [np.array([_number(row.get(name)) for row in draws]) for draws in runs.values()]
            summary[name] = float(np.mean([v.mean() for v in by_run]))
            summary[f"{name}_sd"] = _deviation(by_run)
        out.append(summary)
    return out


def averages(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Means over the settings of each protocol, with the deviation of one draw of one run.

    Settings are the missing rates (`imder.evaluation.curve`) or, where subsets are fixed, the incomplete subsets. A draw of a
    run counts only if it has a row for every setting; a system without such a draw has no average.

    Args:
        rows: tidy rows of one corpus and split.

    Returns:
        Rows as `summarise` gives them, with ``available`` "average" or "average, incomplete" or, under a protocol that erases
        frames, "average, 0 to 0.9" and "AUILC, 0 to 1". Protocols with a single setting have no average.
    """
    means: list[dict[str, Any]] = []
    for protocol in dict.fromkeys(row["protocol"] for row in rows):
        mine = [row for row in rows if row["protocol"] == protocol]
        longest = max(len(_names(row)) for row in mine)
        if fixed := longest > 0:
            mine = [row for row in mine if len(_names(row)) < longest]
        settings = {(row["rate"], row["available"]) for row in mine}
        if len(settings) < 2:
            continue
        groups: dict[tuple[Any, ...], list[Row]] = {}
        for row in mine:
            groups.setdefault(tuple(row[k] for k in ("model", "run", "seed", "draw")), []).append(row)
        for members in groups.values():
            if len(members) < len(settings):
                continue
            in_order = sorted(members, key=lambda row: float(row["rate"] or 0.0))
            names = metric_names(in_order)
            rates, effective = ([row[key] for row in in_order] for key in ("rate", "effective_rate"))
            for name, weights in summaries(protocol, rates, effective, sims="acc3" in names).items():
                about: dict[str, Any] = {"rate": None, "available": f"{name}, incomplete" if fixed else name}
                about |= {
                    k: float(np.average([r[k] for r in in_order], weights=weights)) for k in ("effective_rate", "n")
                }
                means.append({**in_order[0], **about, **_weighted(in_order, names, weights)})
    return summarise(means)


def _weighted(rows: Sequence[Row], names: Sequence[str], weights: np.ndarray[Any, Any]) -> dict[str, float]:
    """Weighted sums of metrics, nan where a row that counts lacks one."""
    used = np.flatnonzero(weights).tolist()
    return {name: float(weights[used] @ [_number(rows[i].get(name)) for i in used]) for name in names}


def _names(row: Row) -> list[str]:
    """The modalities of a row's fixed subset."""
    return row["available"].split("+") if row["available"] else []


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _deviation(by_run: Sequence[np.ndarray[Any, np.dtype[np.float64]]]) -> float:
    """The standard deviation of one draw of one run; nan for a single row."""
    draws = min(len(v) for v in by_run)
    if len(by_run) == 1:
        return float(by_run[0].std(ddof=1)) if draws > 1 else float("nan")
    between = float(np.var([v.mean() for v in by_run], ddof=1))
    within = float(np.mean([v.var(ddof=1) for v in by_run])) if draws > 1 else 0.0
    return float(np.sqrt(between + (1 - 1 / draws) * within))
