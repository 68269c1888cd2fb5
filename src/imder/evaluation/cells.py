"""The cells of an evaluation and their masks.

A *cell* is one setting of a protocol and one draw of its masks, for a whole split. Masks come from (present, protocol,
rate, seed, draw) alone: draw d uses the seed ``SeedSequence((seed, d))``, whatever system is evaluated, so every system of
a table is evaluated on the same masks.

* ``random``, ``official``: every rate, ``draws`` times. Rate 0 of ``random`` has one possible mask; its draws are equal.
* ``fixed``: every non-empty subset of the modalities, once. ``natural``: one cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imder.data.erasure import Erasure
from imder.data.split import Split
from imder.missingness.masks import Mask, mask_seed
from imder.missingness.protocols import ErasesFrames, Setting, bound, frame_protocols, protocol_named
from imder.types import ImderError

RATES = tuple(r / 10 for r in range(8))
"""The papers' missing rates, 0 to 0.7."""
FRAME_RATES = tuple(r / 10 for r in range(11))
"""Those of protocols that erase frames, 0 to 1."""


def default_rates(protocols: Sequence[str]) -> tuple[float, ...]:
    """The published rates of some protocols: 0 to 1 if any of them erases frames, else 0 to 0.7."""
    return FRAME_RATES if {*protocols} & {*frame_protocols()} else RATES


@dataclass(frozen=True)
class EvaluationCell:
    """One draw of one setting.

    Attributes:
        protocol: its name.
        rate: the nominal missing rate; None where the protocol has none.
        available: names of the fixed subset joined by ``+``; empty for the other protocols.
        draw: number of the draw, from 0.
        mask: ``(N, K)`` bool; a row without any True isn't served.
        erasure: the erased frames of the N samples, under a protocol that erases any.
    """

    protocol: str
    rate: float | None
    available: str
    draw: int
    mask: Mask
    erasure: Erasure | None = None


def sample_cells(
    present: NDArray[np.bool_],
    names: Sequence[str],
    *,
    protocol: str = "random",
    rates: Sequence[float] = RATES,
    draws: int = 10,
    seed: int = 0,
    official_batch_size: int = 32,
    split: Split | None = None,
) -> list[EvaluationCell]:
    """The cells of a protocol.

    Args:
        present: ``(N, K)`` bool, what the split holds.
        names: the K modalities.
        protocol: a name of `imder.missingness.protocols.PROTOCOLS`.
        rates: missing rates, for a protocol that has them.
        draws: of each setting, for a protocol whose draws differ.
        seed: non-negative; decides all masks.
        official_batch_size: rows in a batch of the released code's loader (``official``).
        split: the samples, for a protocol that needs more than ``present`` (`MissingOfSplit`).

    Raises:
        ImderError: an unknown protocol, no rates, no draws, a negative seed, or what the protocol itself refuses.

    >>> cells = sample_cells(np.ones((4, 2), dtype=bool), ("voice", "face"), protocol="fixed")
    >>> [c.available for c in cells]
    ['voice', 'face', 'voice+face']
    """
    row = protocol_named(protocol)
    if seed < 0:
        raise ImderError(f"the seed must not be negative, got {seed}")
    if (row.has_rates and not rates) or (row.repeated and draws < 1):
        raise ImderError(f"{protocol} protocol: at least one rate and one draw are needed")
    assert row.settings is not None
    return cells_of(row.settings(names, rates, official_batch_size), protocol, present, draws, seed, split)


def cells_of(
    settings: Sequence[Setting],
    protocol: str,
    present: NDArray[np.bool_],
    draws: int,
    seed: int,
    split: Split | None = None,
) -> list[EvaluationCell]:
    """The cells of some settings of a protocol."""
    cells = []
    for setting in settings:
        missing = bound(setting.missing, split)
        for draw in range(draws if protocol_named(protocol).repeated else 1):
            number = mask_seed(seed, draw)
            mask = missing.sample(present, number)
            erasure = missing.erasure(present, number) if isinstance(missing, ErasesFrames) else None
            cells.append(EvaluationCell(protocol, setting.rate, setting.available, draw, mask, erasure))
    return cells
