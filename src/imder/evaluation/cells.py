"""What one evaluation covers: the cells of a table and the mask of each.

A *cell* is one setting of a protocol and one draw of its masks, for a whole split. Masks come from (present, protocol,
rate, seed, draw) alone: draw d uses the seed ``SeedSequence((seed, d))``, whatever system is evaluated, so that every
system of a table, today's and next year's, meets the same masks.

* ``random``, ``official``: every rate, ``draws`` times. Rate 0 of ``random`` has one possible mask; its draws are equal.
* ``fixed``: every non-empty subset of the modalities, once. ``natural``: one cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from imder.missingness.masks import Mask, mask_seed
from imder.missingness.official_schedule import OfficialSchedule
from imder.missingness.patterns import pattern_name, patterns
from imder.missingness.protocols import FixedMissing, Missing, NaturalMissing, RandomMissing
from imder.types import ImderError

ProtocolName = Literal["random", "fixed", "natural", "official"]

RATES = tuple(r / 10 for r in range(8))
"""The papers' missing rates, 0 to 0.7."""


@dataclass(frozen=True)
class EvaluationCell:
    """One draw of one setting.

    Attributes:
        protocol: its name.
        rate: the missing rate asked for; None where the protocol has none.
        available: names of the fixed subset joined by ``+``; empty for the other protocols.
        draw: number of the draw, from 0.
        mask: ``(N, K)`` bool; a row without any True isn't served.
    """

    protocol: ProtocolName
    rate: float | None
    available: str
    draw: int
    mask: Mask


def sample_cells(
    present: NDArray[np.bool_],
    names: Sequence[str],
    *,
    protocol: ProtocolName = "random",
    rates: Sequence[float] = RATES,
    draws: int = 10,
    seed: int = 0,
    official_batch_size: int = 32,
) -> list[EvaluationCell]:
    """The cells of a protocol.

    Args:
        present: ``(N, K)`` bool, what the split holds.
        names: the K modalities.
        protocol: which.
        rates: missing rates (``random``, ``official``).
        draws: of each rate (``random``, ``official``).
        seed: non-negative; decides all masks.
        official_batch_size: rows in a batch of the released code's loader (``official``).

    Raises:
        ImderError: an unknown protocol, no rates, no draws, a negative seed, or what the protocol itself refuses.

    >>> cells = sample_cells(np.ones((4, 2), dtype=bool), ("voice", "face"), protocol="fixed")
    >>> [c.available for c in cells]
    ['voice', 'face', 'voice+face']
    """
    if protocol not in get_args(ProtocolName):
        raise ImderError(f"unknown protocol {protocol!r}; use one of {', '.join(get_args(ProtocolName))}")
    if seed < 0:
        raise ImderError(f"the seed must not be negative, got {seed}")
    if protocol == "natural":
        return [EvaluationCell(protocol, None, "", 0, NaturalMissing().sample(present))]
    if protocol == "fixed":
        return [
            EvaluationCell(protocol, None, pattern_name(p, names), 0, FixedMissing(p).sample(present))
            for p in patterns(len(names))
        ]
    if draws < 1 or not rates:
        raise ImderError(f"{protocol} protocol: at least one rate and one draw are needed")
    cells = []
    for rate in rates:
        missing: Missing = RandomMissing(rate) if protocol == "random" else OfficialSchedule(rate, official_batch_size)
        for draw in range(draws):
            cells.append(
                EvaluationCell(protocol, float(rate), "", draw, missing.sample(present, mask_seed(seed, draw)))
            )
    return cells
