"""P-values of bootstrapped differences, and Holm's correction for many of them.

A difference d with the bootstrap's standard error s, of C clusters, is tested against 0 by Student's t with C - 1 degrees of
freedom: t = d / (s sqrt(C / (C - 1))). For the mean over clusters of one size this is the paired t-test of the clusters' means
(the bootstrap's variance of a mean of C values is (C - 1) / C times the usual one). Unlike the share of resamples beyond 0, it
isn't bounded below by the number of resamples, which the correction for hundreds of comparisons would run into.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from scipy.special import stdtr

from imder.benchmarking.bootstrap import Array
from imder.types import ImderError

Correction = Literal["holm", "none"]
CORRECTIONS: tuple[Correction, ...] = ("holm", "none")
ALPHA = 0.05


def check_correction(correction: str) -> None:
    """Raise `ImderError` for a name that isn't one of `CORRECTIONS`."""
    if correction not in CORRECTIONS:
        raise ImderError(f"correction (--correction): choose from {', '.join(CORRECTIONS)}, got {correction!r}")


def p_value(difference: Array, clusters: int) -> float:
    """The two-sided p-value of a bootstrapped difference.

    Args:
        difference: ``(B,)``; the first is that of the sample itself, the others of its resamples.
        clusters: number of clusters that were resampled.

    Returns:
        In [0, 1]; 1 where the difference is 0 in every resample, nan where it is undefined or resamples don't vary.
    """
    observed, resampled = float(difference[0]), difference[1:][~np.isnan(difference[1:])]
    if math.isnan(observed) or clusters < 2 or len(resampled) < 2:
        return math.nan
    error = float(resampled.std(ddof=1)) * math.sqrt(clusters / (clusters - 1))
    if error == 0:
        return 1.0 if observed == 0 else math.nan
    return t_probability(observed / error, clusters - 1)


def t_probability(t: float, freedom: int) -> float:
    """The probability that Student's t is at least as far from 0 as ``t``.

    >>> round(t_probability(2.228, 10), 4), round(t_probability(1.96, 10**6), 4)
    (0.05, 0.05)
    """
    return float(2 * stdtr(freedom, -abs(t)))


def holm(values: Sequence[float]) -> list[float]:
    """P-values corrected by Holm's method: with probability .95 at least, no true zero is below .05.

    The i-th smallest of m is multiplied by m - i + 1, and none is smaller than one before it. Undefined ones stay nan and
    don't count.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    defined = sorted((value, i) for i, value in enumerate(values) if not math.isnan(value))
    corrected, largest = [math.nan] * len(values), 0.0
    for rank, (value, i) in enumerate(defined):
        largest = max(largest, min(1.0, value * (len(defined) - rank)))
        corrected[i] = largest
    return corrected


def with_correction(
    rows: Sequence[dict[str, Any]], family: Sequence[str], correction: Correction
) -> list[dict[str, Any]]:
    """Rows with a corrected p-value ``p_holm`` beside ``p``; unchanged without a correction.

    Args:
        rows: with ``p``.
        family: keys; rows that agree in them are one table and are corrected together.
        correction: of the p-values.
    """
    if correction == "none":
        return list(rows)
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(tuple(row[key] for key in family), []).append(i)
    out = [dict(row) for row in rows]
    for members in groups.values():
        for i, value in zip(members, holm([rows[i]["p"] for i in members]), strict=True):
            out[i]["p_holm"] = value
    return out


def is_significant(row: Mapping[str, Any]) -> bool:
    """Whether a difference's 95 % interval leaves out 0 and its p-value, corrected where it is, lies below .05.

    Rows without p-values are decided by their intervals alone.
    """
    if not (row["low"] > 0 or row["high"] < 0):
        return False
    p = row.get("p_holm", row.get("p"))
    return p is None or bool(p < ALPHA)


def significance_note(rows: Sequence[Mapping[str, Any]], over: str) -> str:
    """How significance was decided in a table of some rows; ``over`` says what they cover.

    >>> significance_note([{"p": 0.01, "p_holm": 0.02}, {"p": 0.03, "p_holm": 0.03}], "systems and metrics")
    "p < .05 after Holm's correction over 2 comparisons (systems and metrics)"
    """
    count = sum(not math.isnan(row["p"]) for row in rows)
    how = "after Holm's correction over" if any("p_holm" in row for row in rows) else "without a correction for"
    return f"p < .05 {how} {count} comparison{'' if count == 1 else 's'} ({over})"
