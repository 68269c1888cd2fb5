"""Masks of availability: checks, missing rates and random streams.

A mask is bool (N, K), a row for each sample and a column for each modality. Random streams come from a ``SeedSequence``
keyed by (seed, protocol, rate): two rates or two protocols under the same seed share nothing.
"""

from __future__ import annotations

import hashlib
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imder.types import ImderError

Mask = NDArray[np.bool_]

_TAGS = {"random": 1, "official": 2, "any": 3}  # part of every mask ever reported: never renumber


def effective_rate(available: ArrayLike) -> float:
    """The true overall missing rate 1 - sum_i s_i / (N K), over the N served rows (those with at least one True).

    Cells that are naturally absent count as missing: with half of the cells absent, dropping nothing gives 0.5.

    Args:
        available: ``(N', K)`` bool.

    Returns:
        The rate, in [0, (K - 1) / K]; nan where no row is served.

    Raises:
        ImderError: ``available`` isn't a bool ``(N', K)`` array.

    >>> effective_rate([[True, False], [True, True], [False, False]])
    0.25
    """
    mask = check_mask("available", available)
    served = mask[mask.any(axis=1)]
    return 1.0 - int(served.sum()) / served.size if served.size else float("nan")


def stream(protocol: str, seed: int, rate: float = 0.0) -> np.random.Generator:
    """A random stream of its own for each (protocol, rate in billionths, seed); other protocols are tagged by their name.

    Raises:
        ImderError: the seed is negative.
    """
    if seed < 0:
        raise ImderError(f"{protocol} protocol: the seed must be a non-negative integer, got {seed}")
    tag = _TAGS.get(protocol) or int.from_bytes(hashlib.sha256(protocol.encode()).digest()[:4], "big") + 2**16
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(tag, round(rate * 1e9))))


def mask_seed(seed: int, draw: int) -> int:
    """The seed of a draw's masks.

    >>> mask_seed(0, 0) != mask_seed(0, 1) != mask_seed(1, 0)
    True
    """
    return int(np.random.SeedSequence((seed, draw)).generate_state(1, np.uint64)[0])


def is_rate(rate: object) -> bool:
    """Whether this is a number in [0, 1]."""
    return isinstance(rate, Real) and not isinstance(rate, bool) and 0.0 <= float(rate) <= 1.0


def check_rate(rate: float) -> None:
    """Refuse a missing rate that isn't a number in [0, 1] (`ImderError`)."""
    if not is_rate(rate):
        raise ImderError(f"a missing rate must lie in [0, 1], got {rate!r}")


def check_mask(name: str, mask: ArrayLike) -> Mask:
    """A mask as an array; anything but bool ``(N, K)``, K > 0, is refused (`ImderError`)."""
    array = np.asarray(mask)
    if array.ndim != 2 or array.dtype != np.bool_ or array.shape[1] == 0:
        raise ImderError(f"{name} must be a bool array (N, K), got {array.dtype} {array.shape}")
    return array


def check_present(present: ArrayLike) -> Mask:
    """As `check_mask`, and every row must hold something."""
    mask = check_mask("present", present)
    empty = np.flatnonzero(~mask.any(axis=1))
    if len(empty):
        raise ImderError(f"row {int(empty[0])} holds no modality at all; drop such samples first")
    return mask
