"""Patterns of availability: the non-empty subsets of K modalities, and their names."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from imder.types import ImderError


def patterns(k: int) -> list[tuple[bool, ...]]:
    """All 2^K - 1 non-empty subsets of K modalities, singles first, the full set last.

    Subsets of one size are in lexicographic order of their members' positions.

    Raises:
        ImderError: K below 1.

    >>> [pattern_name(p, ("l", "v", "a")) for p in patterns(3)]
    ['l', 'v', 'a', 'l+v', 'l+a', 'v+a', 'l+v+a']
    """
    if k < 1:
        raise ImderError(f"patterns need at least one modality, got {k}")
    return [tuple(i in chosen for i in range(k)) for size in range(1, k + 1) for chosen in combinations(range(k), size)]


def pattern_name(available: Sequence[bool] | NDArray[np.bool_], names: Sequence[str]) -> str:
    """The available modalities' names, in the corpus' order, joined by ``+``.

    Args:
        available: K flags (one row of a mask).
        names: the K modality names.

    Raises:
        ImderError: the lengths differ, or nothing is available.

    >>> pattern_name((True, False, True), ("language", "vision", "audio"))
    'language+audio'
    """
    if len(available) != len(names):
        raise ImderError(f"a pattern of {len(available)} modalities was given for {len(names)} names {list(names)}")
    if not any(available):
        raise ImderError("a pattern without any modality has no name")
    return "+".join(name for name, flag in zip(names, available, strict=True) if flag)


def pattern_from_name(text: str, names: Sequence[str]) -> tuple[bool, ...]:
    """The inverse of `pattern_name`: K flags from names joined by ``+``, in any order, spaces allowed.

    Raises:
        ImderError: an unknown or repeated name.

    >>> pattern_from_name("audio + language", ("language", "vision", "audio"))
    (True, False, True)
    """
    chosen = [part.strip() for part in text.split("+")]
    for i, name in enumerate(chosen):
        if name not in names:
            raise ImderError(f"pattern {text!r}: unknown modality {name!r}; the corpus has {', '.join(names)}")
        if name in chosen[:i]:
            raise ImderError(f"pattern {text!r}: modality {name!r} is named twice")
    return tuple(name in chosen for name in names)
