r"""The table of a feature with steps: knots of a piecewise-linear map between its values and its codes.

Pieces alternate along the sorted training values: an atom is one value, a run holds the values between two atoms. A run has
knots at evenly spaced ranks; an atom has two knots of the same value, at its edges. `fit_table` is for vectors, whose codes
are normal scores, `fit_value_table` for frames, whose codes are linear in the values.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]

FAR = 1e6
"""Beyond all codes."""

SAMPLE = 8192
"""Values in which atoms are looked for first."""

MOST_WHOLE = 64
"""Whole numbers with at most this many distinct values are discrete."""

INSIDE = 1e-3
"""An atom's edge keeps this share of the distance from the codes on either side."""

SLIVER = 1e-3
"""At most this much of a gap belongs to the value beside it."""

MOST_ROOM = 0.45
"""Largest share of the distance between two atoms that either takes, where values lie between them."""

LEAST_REPEATS = 3
"""An atom occurs at least this often."""


@dataclass(frozen=True)
class ScoreTable:
    """Knots of one feature.

    Attributes:
        mean, deviation: m and s of the normal scores.
        codes: ``(Q,)``, of the knots, ascending.
        values: ``(Q,)``, of the knots, ascending.
        points: ``(Q,)``, at the first of two knots of one value its code.
        fills: ``(Q, 2)``, at the knot before a gap the shares between which its draws lie; (0, 0) elsewhere.
    """

    mean: float
    deviation: float
    codes: NDArray[np.float32]
    values: NDArray[np.float32]
    points: NDArray[np.float32]
    fills: NDArray[np.float32]


@dataclass
class _Piece:
    """An atom (one value, with its code) or a run (values and codes), and the shares between which it lies."""

    values: Array
    codes: Array
    low: float
    high: float
    is_atom: bool


def normal_quantile(share: Array) -> Array:
    """Phi^-1; infinite at 0 and 1."""
    return np.asarray(torch.special.ndtri(torch.from_numpy(np.asarray(share, dtype=np.float64))).numpy())


def has_steps(column: NDArray[np.float32], whole: bool, discrete: int, atom_share: float) -> bool:
    """Whether a feature is discrete or has atoms; columns of many frames are looked through at regular intervals first."""
    if len(column) > 4 * SAMPLE:
        values, counts = np.unique(column[:: len(column) // SAMPLE], return_counts=True)
        if len(values) > 2 * MOST_WHOLE and counts.max() < atom_share / 2 * SAMPLE:
            return False
    return bool(_atoms(*np.unique(column, return_counts=True), whole, discrete, atom_share).any())


def fit_table(column: NDArray[np.float32], whole: bool, knots: int, discrete: int, atom_share: float) -> ScoreTable:
    """The table of ``knots`` knots of a feature that varies.

    Args:
        column: ``(n,)`` training values.
        whole: whether they are whole numbers.
        knots: Q.
        discrete: as in `imder.models.imputer.feature_kinds.FeatureMarginals`, like the next.
        atom_share: of an atom.
    """
    values, counts = np.unique(column, return_counts=True)
    atoms = _atoms(values, counts, whole, discrete, atom_share)
    edges = np.concatenate([[0], np.cumsum(counts)]) / len(column)
    scores = normal_quantile((edges[:-1] + edges[1:]) / 2)
    density = np.exp(-0.5 * normal_quantile(edges) ** 2) / np.sqrt(2 * np.pi)  # 0 at both ends
    scores[atoms] = ((density[:-1] - density[1:]) / np.diff(edges))[atoms]
    starts = np.flatnonzero(np.concatenate([[True], atoms[1:] | atoms[:-1]]))
    stops = np.append(starts[1:], len(values))
    mean = float(np.average(scores, weights=counts))
    deviation = float(np.sqrt(np.average((scores - mean) ** 2, weights=counts)))
    codes = (scores - mean) / deviation
    spare = knots - 4 * int(atoms.sum())
    pieces = []
    for i, j in zip(starts, stops, strict=True):
        share = edges[j] - edges[i]
        keep = np.arange(i, j)
        if not atoms[i]:
            many = min(j - i, max(2, int(spare * share)))
            # evenly spaced middle ranks, the ends included
            wanted = np.searchsorted(edges[i:j], np.linspace(edges[i], edges[j - 1], many))
            keep = i + np.unique(wanted.clip(0, j - i - 1))
        pieces.append(_Piece(values[keep].astype(np.float64), codes[keep], edges[i], edges[j], bool(atoms[i])))
    return _table(pieces, knots, mean, deviation)


def fit_value_table(
    column: NDArray[np.float32], whole: bool, knots: int, discrete: int, atom_share: float
) -> ScoreTable:
    """As `fit_table`, for codes (x - mean) / deviation: an atom takes the codes around its own, as many as its mass needs.

    Runs between two atoms are linear in what is left; beyond the outer ones slopes are 1.
    """
    values, counts = np.unique(column, return_counts=True)
    atoms = _atoms(values, counts, whole, discrete, atom_share)
    mean = float(np.average(values.astype(np.float64), weights=counts))
    deviation = float(np.sqrt(np.average((values.astype(np.float64) - mean) ** 2, weights=counts)))
    codes = (values.astype(np.float64) - mean) / deviation
    shares = normal_quantile(np.concatenate([[0], np.cumsum(counts)]) / len(column))
    where = np.flatnonzero(atoms)
    table: list[tuple[float, float]] = []
    left = -FAR
    for n, i in enumerate(where):
        following = where[n + 1] if n + 1 < len(where) else len(values)
        room = codes[following] - codes[i] if following < len(values) else FAR
        if i == 0 or (n and where[n - 1] == i - 1):
            pass  # nothing between it and the atom before, or at all
        elif n == 0:
            left = float(min(shares[i], codes[i] - INSIDE))
            table += [(left - (codes[i - 1] - codes[0]), values[0]), (left, values[i - 1])]
        else:
            before = where[n - 1]
            space = codes[i] - codes[before]
            start, left = left, float(np.clip(shares[i], codes[i] - MOST_ROOM * space, codes[i] - INSIDE * space))
            table += [(start, values[before + 1]), (left, values[i - 1])]
        most = 1 - INSIDE if following == i + 1 else MOST_ROOM
        right = float(np.clip(shares[i + 1], codes[i] + INSIDE * min(room, 1), codes[i] + most * room))
        table += [(left, values[i]), (right, values[i])]
        left = right
    if where[-1] + 1 < len(values):
        first = where[-1] + 1
        table += [(left, values[first]), (left + codes[-1] - codes[first], values[-1])]
    padded = np.array(table + [table[-1]] * (knots - len(table)), dtype=np.float32)
    zeros = np.zeros((knots, 3), dtype=np.float32)
    return ScoreTable(mean, deviation, padded[:, 0], padded[:, 1], zeros[:, 0], zeros[:, 1:])


def _atoms(
    values: NDArray[np.float32], counts: NDArray[np.int64], whole: bool, discrete: int, atom_share: float
) -> NDArray[np.bool_]:
    """Which of the distinct values are atoms: all of a discrete feature, else the frequent ones."""
    n, distinct = int(counts.sum()), len(values)
    if (whole and distinct <= max(discrete, MOST_WHOLE)) or (distinct <= discrete and n >= 2 * distinct):
        return np.ones(distinct, dtype=bool)
    return np.asarray(counts >= max(atom_share * n, LEAST_REPEATS))


def _table(pieces: list[_Piece], knots: int, mean: float, deviation: float) -> ScoreTable:
    codes: list[float] = []
    values: list[float] = []
    points: list[float] = []
    fills: list[tuple[float, float]] = []

    def add(code: float, value: float, point: float = 0.0, fill: tuple[float, float] = (0.0, 0.0)) -> None:
        codes.append(code)
        values.append(value)
        points.append(point)
        fills.append(fill)

    edges = [_edge(a, b) for a, b in pairwise(pieces)]
    for n, piece in enumerate(pieces):
        before = edges[n - 1] if n else -FAR
        after = edges[n] if n < len(edges) else FAR
        if piece.is_atom:
            fill = (0.0, 0.0) if n + 1 == len(pieces) else _fill(pieces[n + 1])
            add(before, piece.values[0], piece.codes[0])
            add(after, piece.values[0], fill=fill)
            continue
        # the outer values of a run take a sliver of the gap: codes with rounding errors still are theirs
        first, last = float(piece.codes[0]), float(piece.codes[-1])
        if n:
            add(max((before + first) / 2, first - SLIVER), piece.values[0], first)
        for code, value in zip(piece.codes, piece.values, strict=True):
            add(code, value, code)
        if n < len(edges):
            add(min((last + after) / 2, last + SLIVER), piece.values[-1], fill=_fill(piece))
    assert len(codes) <= knots, (len(codes), knots)
    pad = knots - len(codes)
    return ScoreTable(
        mean,
        deviation,
        np.array(codes + [codes[-1]] * pad, dtype=np.float32),
        np.array(values + [values[-1]] * pad, dtype=np.float32),
        np.array(points + [0.0] * pad, dtype=np.float32),
        np.array(fills + [(0.0, 0.0)] * pad, dtype=np.float32),
    )


def _fill(piece: _Piece) -> tuple[float, float]:
    """The shares from which a gap beside a piece is filled; none beside an atom, which has no gap."""
    return (0.0, 0.0) if piece.is_atom else (piece.low, piece.high)


def _edge(left: _Piece, right: _Piece) -> float:
    """The code between two pieces that gives both their mass, as far as their own codes allow."""
    a, b = float(left.codes[-1]), float(right.codes[0])
    margin = INSIDE * (b - a)
    return float(np.clip(normal_quantile(np.array(left.high)), a + margin, b - margin))
