r"""Affine encoders as linear measurements of the raw features.

Stack the raw features of one modality and length as x (T D,) = b_c + B z + sigma eps. An affine encoder e = A x + a of
rank r has a thin singular value decomposition A = U diag(s) V', so e is equivalent to the r numbers

    m = V' x = diag(1 / s) U' (e - a) = V' b_c + V' B z + sigma eps,

whose noise is again sigma^2 I because V is orthonormal; and e = a + U (s * m). So no covariance of encodings is ever
inverted and wide encoders (A A' singular) need no special case. The part of a given e outside the range of A is
ignored. Directions with s <= cutoff * max s count as absent (1e-5 by default: above the rounding of a float32 A, which
leaves about 1e-7 max s in directions that should be absent).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Ragged
from imder.types import ImderError

Array = NDArray[np.float64]
Operator = Callable[[int], tuple[NDArray[Any], NDArray[Any]]]


@dataclass(frozen=True)
class Measured:
    """The linear model of an encoded modality of one length: m = offsets_c + loading z + noise eps, e = shift + basis (scales * m).

    ``offsets`` (C, r), ``loading`` (r, Z), ``noise`` a standard deviation, ``basis`` (F, r) with orthonormal columns or
    None for the identity (raw features: F = r = T D), ``scales`` (r,), ``shift`` (F,).
    """

    offsets: Array
    loading: Array
    noise: float
    basis: Array | None
    scales: Array
    shift: Array

    def measure(self, encodings: Array) -> Array:
        """The numbers m (..., r) of encodings (..., F)."""
        centred = encodings - self.shift
        return (centred if self.basis is None else centred @ self.basis) / self.scales

    def encode(self, measured: Array) -> Array:
        """Encodings (..., F) of m (..., r): the inverse of `measure` on the range of the encoder."""
        return self.shift + self.linear(measured * self.scales)

    def linear(self, coordinates: Array) -> Array:
        """Coordinates on the basis (..., r) -> (..., F)."""
        return coordinates if self.basis is None else coordinates @ self.basis.T


class AffineEncoder:
    """An affine encoder; its matrices and decompositions are computed once for each length.

    Args:
        operator: length T -> matrix (F, T D) and offset (F,), for features (T, D) flattened in C order. Encodings are
            flattened step after step, ``(length, width)`` in C order (see `flatten`), F = length * width.
        cutoff: singular values up to this share of the largest count as zero.
    """

    def __init__(self, operator: Operator, cutoff: float = 1e-5) -> None:
        self.operator, self.cutoff = operator, cutoff
        self._maps: dict[int, tuple[Array, Array]] = {}
        self._parts: dict[int, tuple[Array, Array, Array, Array]] = {}

    def __call__(self, length: int) -> tuple[Array, Array]:
        """Matrix A (F, T D) and offset a (F,)."""
        if length not in self._maps:
            matrix, offset = (np.asarray(part, dtype=np.float64) for part in self.operator(length))
            if matrix.ndim != 2 or offset.shape != matrix.shape[:1]:
                raise ImderError(f"encoder at length {length}: matrix {matrix.shape} but offset {offset.shape}")
            self._maps[length] = matrix, offset
        return self._maps[length]

    @classmethod
    def of(cls, operator: Operator) -> AffineEncoder:
        """An `AffineEncoder` of the operator, or the operator itself if it is one."""
        return operator if isinstance(operator, cls) else cls(operator)

    def parts(self, length: int) -> tuple[Array, Array, Array, Array]:
        """Basis U (F, r), scales s (r,), V' (r, T D) and offset (F,) of A = U diag(s) V'."""
        if length not in self._parts:
            matrix, offset = self(length)
            u, s, vt = np.linalg.svd(matrix, full_matrices=False)
            rank = int((s > self.cutoff * s.max(initial=0.0)).sum())
            self._parts[length] = u[:, :rank].copy(), s[:rank], vt[:rank].copy(), offset
        return self._parts[length]

    def encode(self, features: Ragged) -> Array:
        """Encodings (N, F) of raw features, zero beyond each sample's own F."""
        rows = [np.zeros(0)] * len(features)
        for i in np.flatnonzero(features.lengths):
            matrix, offset = self(int(features.lengths[i]))
            rows[i] = matrix @ features[int(i)].astype(np.float64).ravel() + offset
        return pad(rows)


@dataclass(frozen=True)
class LinearModality:
    """The generative model of one modality given component and latent.

    Attributes:
        name: the name of the modality.
        lengths: shortest and longest number of frames; each is equally likely.
        offsets: ``(C, D)``, b_kc.
        loadings: ``(J, D, Z)``, B_kj, the amplitude of cos(pi j tau).
        noise: sigma_k.
    """

    name: str
    lengths: tuple[int, int]
    offsets: Array
    loadings: Array
    noise: float

    @property
    def dim(self) -> int:
        """D, features per frame."""
        return int(self.offsets.shape[1])

    def waves(self, tau: Array) -> Array:
        """cos(pi j tau) for tau (n,): (n, J)."""
        return np.cos(np.pi * tau[:, None] * np.arange(len(self.loadings)))

    def measured(self, length: int, encoder: AffineEncoder | None = None) -> Measured:
        """Raw features of ``length`` frames, or their encodings, as a measurement of z."""
        waves = self.waves((np.arange(length) + 0.5) / length)
        loading = np.einsum("tj,jdz->tdz", waves, self.loadings).reshape(length * self.dim, -1)
        offsets = np.tile(self.offsets, (1, length))
        if encoder is None:
            return Measured(offsets, loading, self.noise, None, np.ones(len(loading)), np.zeros(len(loading)))
        basis, scales, rotation, shift = encoder.parts(length)
        if rotation.shape[1] != len(loading):
            raise ImderError(
                f"{self.name}: {length} frames are {len(loading)} values, the encoder takes {rotation.shape[1]}"
            )
        return Measured(offsets @ rotation.T, rotation @ loading, self.noise, basis, scales, shift)

    def sample(
        self,
        component: NDArray[np.int64],
        z: Array,
        rng: np.random.Generator,
        lengths: NDArray[np.int64] | None = None,
    ) -> Ragged:
        """Frames of N clips with components (N,) and latents z (N, Z), at ``lengths`` (N,) or at random ones."""
        n = len(z)
        if lengths is None:
            lengths = rng.integers(self.lengths[0], self.lengths[1] + 1, n)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        row = np.repeat(np.arange(n), lengths)
        waves = self.waves((np.arange(len(row)) - offsets[row] + 0.5) / lengths[row])
        frames = self.offsets[component[row]] + self.noise * rng.standard_normal((len(row), self.dim))
        for wave, loading in zip(waves.T, self.loadings, strict=True):
            frames += wave[:, None] * (z @ loading.T)[row]
        return Ragged(frames.astype(np.float32), offsets)

    def groups(
        self, lengths: NDArray[np.int64], wanted: NDArray[np.bool_], encoder: AffineEncoder | None
    ) -> tuple[tuple[NDArray[np.int64], Measured], ...]:
        """The row numbers of each length among ``wanted`` rows (N,), with the linear model of that length.

        Raises:
            ImderError: a wanted row has no frames.
        """
        distinct = np.unique(lengths[wanted])
        if (distinct < 1).any():
            raise ImderError(f"{self.name}: a requested row has no frames; give its length, or mark it unavailable")
        return tuple((np.flatnonzero(wanted & (lengths == t)), self.measured(int(t), encoder)) for t in distinct)


def pad(rows: list[Array]) -> Array:
    """Vectors of several sizes as one (N, longest) array, zero beyond each."""
    out = np.zeros((len(rows), max((len(row) for row in rows), default=0)))
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


def flatten(encodings: NDArray[Any]) -> Array:
    """(..., width, length), as models give them -> (..., length * width), step after step, as used here."""
    swapped = np.swapaxes(np.asarray(encodings, dtype=np.float64), -1, -2)
    return swapped.reshape(*swapped.shape[:-2], -1)


def unflatten(flat: Array, width: int) -> Array:
    """The inverse of `flatten`: (..., length * width) -> (..., width, length)."""
    return np.swapaxes(flat.reshape(*flat.shape[:-1], -1, width), -1, -2)


def operator_of(encode: Callable[[NDArray[np.float32]], NDArray[Any]], dim: int) -> Operator:
    """The `Operator` of an affine ``encode``: (B, T, dim) -> (B, width, length), from its values at unit vectors.

    The operator raises an `ImderError` where ``encode`` isn't affine, checked on one random input to 1e-3 of its scale.
    """

    def operator(length: int) -> tuple[Array, Array]:
        size = length * dim
        probe = np.random.default_rng(0).standard_normal((1, size))
        inputs = np.concatenate([np.zeros((1, size)), np.eye(size), probe])
        outputs = flatten(encode(inputs.reshape(-1, length, dim).astype(np.float32)))
        offset, matrix = outputs[0], (outputs[1:-1] - outputs[0]).T
        if abs(matrix @ probe[0] + offset - outputs[-1]).max() > 1e-3 * abs(outputs).max():
            raise ImderError(f"the encoder isn't affine at length {length}: encoding posteriors need an affine one")
        return matrix, offset

    return operator
