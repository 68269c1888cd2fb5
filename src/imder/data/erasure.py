"""Which steps of a sequence are erased, as a function of (seed, sample, modality, step) alone.

Step t of modality k of a sample is erased if u < rate, where u in [0, 1) is a hash of (seed, key of the sample, name of the
modality, t). A draw is therefore equal for all systems, orders and batch sizes, and under one seed the steps erased at a rate
are among those erased at any higher rate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class Erasure:
    """The erased steps of M samples, each under a rate and a seed of its own.

    Attributes:
        rates: ``(M, K)``, the probability that a step is erased.
        seeds: ``(M,)`` uint64.
    """

    rates: NDArray[np.float64]
    seeds: NDArray[np.uint64]

    @classmethod
    def of(cls, rates: NDArray[np.float64], count: int, seed: int) -> Self:
        """Of samples ``(M,)`` with one rate for all of their ``count`` modalities, under one seed."""
        seeds = np.full(len(rates), seed % 2**64, np.uint64)
        return cls(np.repeat(np.asarray(rates, float)[:, None], count, 1), seeds)

    @classmethod
    def joined(cls, parts: Sequence[Erasure | None], sizes: Sequence[int], count: int) -> Erasure | None:
        """One after the other; None stands for as many samples as ``sizes`` says of which nothing is erased."""
        if all(part is None for part in parts):
            return None
        filled = [p if p is not None else cls.of(np.zeros(n), count, 0) for p, n in zip(parts, sizes, strict=True)]
        return cls(np.concatenate([part.rates for part in filled]), np.concatenate([part.seeds for part in filled]))

    def __len__(self) -> int:
        return len(self.seeds)

    def take(self, rows: NDArray[np.int64]) -> Erasure:
        """Some of the samples, in that order."""
        return Erasure(self.rates[rows], self.seeds[rows])

    def draws(self) -> NDArray[np.int64]:
        """``(M,)`` numbers from 0, equal for samples of equal rates and seed; a seed doesn't count where all rates are 0."""
        seeds = np.where(self.rates.any(1), self.seeds, np.uint64(0))
        columns = np.column_stack([self.rates.view(np.uint64), seeds])
        return np.unique(columns, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)

    def names(self) -> list[bytes]:
        """The rates and seed of each sample as bytes, none where all rates are 0."""
        return [r.tobytes() + s.tobytes() if r.any() else b"" for r, s in zip(self.rates, self.seeds, strict=True)]

    def steps(
        self, k: int, name: str, keys: NDArray[np.int64], lengths: NDArray[np.int64], longest: int
    ) -> NDArray[np.bool_]:
        """``(M, longest)`` bool: the erased steps of modality ``k``, called ``name``, none at or beyond ``lengths`` (M,).

        >>> erasure = Erasure.of(np.array([0.0, 1.0]), 1, seed=0)
        >>> erasure.steps(0, "audio", np.array([7, 8]), np.array([3, 2]), 3).tolist()
        [[False, False, False], [True, True, False]]
        """
        modality = np.uint64(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little"))
        with np.errstate(over="ignore"):  # 64-bit arithmetic wraps
            start = _mix(_mix(_mix(self.seeds + _GOLDEN) ^ modality) ^ keys.astype(np.int64).view(np.uint64))
            hashes = _mix(start[:, None] + np.arange(1, longest + 1, dtype=np.uint64) * _GOLDEN)
        uniform = (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53
        valid = np.arange(longest) < lengths[:, None]
        erased: NDArray[np.bool_] = valid & (uniform < self.rates[:, k, None])
        return erased


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64."""
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))
