r"""Noise that depends on (seed, key), never on a position in a batch.

A sample's recovery must not change with its batch, its order, the batch size or the number of processes. That rules out
sequential generators. Here element j of the n-th draw for a row of key k is a pure function of (seed, n, k, j): the
SplitMix64 stream that starts at a hash of (seed, n, k), read at position j and turned into normals by the Box-Muller
transform. The int64 arithmetic wraps, in the same way on every device.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

_GOLDEN = -0x61C8864680B583EB  # 0x9E3779B97F4A7C15 as a signed integer
_MIX_1 = -0x40A7B892E31B1A47  # 0xBF58476D1CE4E5B9
_MIX_2 = -0x6B2FB644ECCEEE15  # 0x94D049BB133111EB


class NoiseSource(Protocol):
    """A source of standard normal draws, a new one at each call."""

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """The next draw, of the given shape."""
        ...


class KeyedNoise:
    """Draws for rows identified by ``keys``; calls are independent of one another.

    Args:
        keys: ``(B,)`` int64, one for each row of every draw.
        seed: any integer.
        dtype: of the draws.
        sign: ``(B,)`` of 1 and -1, which multiplies normal draws: rows of one key and opposite signs are antithetic. None for 1.

    >>> keys = torch.tensor([7, 8, 9])
    >>> a = KeyedNoise(keys, seed=1).normal((3, 4))
    >>> b = KeyedNoise(keys.flip(0), seed=1).normal((3, 4))
    >>> bool((a == b.flip(0)).all())
    True
    """

    def __init__(self, keys: Tensor, seed: int, dtype: torch.dtype = torch.float32, sign: Tensor | None = None) -> None:
        self._keys = keys
        self._sign = sign
        self._seed = seed
        self._dtype = dtype
        self._calls = 0

    def _hash(self, count: int) -> Tensor:
        """``(B, count)`` hashes of the next call."""
        device = self._keys.device
        start = _mix(torch.tensor(_wrap(self._seed * 2 + 1), dtype=torch.int64, device=device))
        start = _mix(start + _wrap(_GOLDEN * (self._calls + 1)))
        self._calls += 1
        state = _mix(self._keys ^ start)
        steps = torch.arange(1, count + 1, dtype=torch.int64, device=device) * _GOLDEN
        return _mix(state[:, None] + steps[None])

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normal draw of shape (B, ...)."""
        size = math.prod(shape[1:])
        bits = self._hash((size + 1) // 2)
        radius = torch.sqrt(-2 * torch.log(_uniform(_shift(bits, 40), self._dtype)))
        angle = 2 * math.pi * _uniform(bits & 0xFFFFFF, self._dtype)
        pairs = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1)
        draws = pairs.flatten(1)[:, :size]
        return (draws if self._sign is None else draws * self._sign[:, None]).reshape(shape)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Uniform draw on (0, 1], shape (B, ...)."""
        return _uniform(_shift(self._hash(math.prod(shape[1:])), 40), self._dtype).reshape(shape)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical (unsigned) right shift of int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's output function (Steele, Lea, Flood 2014)."""
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


def _wrap(value: int) -> int:
    """A Python integer as the signed 64-bit one that has its low bits."""
    return (value + 2**63) % 2**64 - 2**63


def _uniform(bits24: Tensor, dtype: torch.dtype) -> Tensor:
    """24 random bits to (0, 1]."""
    return (bits24 + 1).to(dtype) * 2.0**-24
