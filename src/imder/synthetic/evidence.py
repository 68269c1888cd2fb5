r"""Evidence: all that measurements of a clip say about its latent z, as sums over its available modalities.

Raw features and encodings of a modality are linear in z, m = beta_c + H z + sqrt(d) * eps with eps ~ N(0, I), and enter
every posterior only through their precision P = H' D^-1 H, information h_c = H' D^-1 (m - beta_c) and energy
q_c = (m - beta_c)' D^-1 (m - beta_c) (up to what all c share). Evidence of several modalities adds up. The noise of frames
is independent, so erased frames leave the sums over the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Ragged
from imder.synthetic.affine import AffineEncoder, Array, LinearModality, Measured, Operator

Mask = NDArray[np.bool_]
Erased = Mapping[str, Mask]
"""For some modalities, ``(N, T)``: the frames that are erased; T is at least the longest length."""


@dataclass(frozen=True)
class Evidence:
    """The evidence of a measurement on z: ``precision`` (..., Z, Z), ``information`` (..., C, Z), ``energy`` (..., C)."""

    precision: Array
    information: Array
    energy: Array

    @classmethod
    def of(
        cls, measured: Array, offsets: Array, loading: Array, variance: Array | float, kept: Mask | None = None
    ) -> Evidence:
        """The evidence of ``measured`` (..., r) = offsets (C, r) + loading (r, Z) z + noise of ``variance`` (r,).

        Only the coordinates that ``kept`` (..., r) marks are read; None for all.
        """
        if kept is not None:
            return cls._of_kept(np.where(kept, measured, 0.0), offsets, loading, variance, kept.astype(np.float64))
        scaled, whitened = offsets / variance, loading / np.expand_dims(variance, -1)
        return cls(
            loading.T @ whitened,
            (measured @ whitened)[..., None, :] - offsets @ whitened,
            (offsets * scaled).sum(-1) - 2 * measured @ scaled.T,
        )

    @classmethod
    def _of_kept(
        cls, measured: Array, offsets: Array, loading: Array, variance: Array | float, kept: Array
    ) -> Evidence:
        """As `of`, for ``measured`` that is 0 and ``kept`` that is 0 where a coordinate isn't read."""
        scaled, whitened = offsets / variance, loading / np.expand_dims(variance, -1)
        products = (loading[:, :, None] * whitened[:, None]).reshape(len(loading), -1)
        pulls = offsets[:, :, None] * whitened
        return cls(
            (kept @ products).reshape(*kept.shape[:-1], *loading.shape[1:], -1),
            (measured @ whitened)[..., None, :] - np.einsum("...r,crz->...cz", kept, pulls),
            kept @ (offsets * scaled).T - 2 * measured @ scaled.T,
        )


def evidence(
    modalities: Sequence[LinearModality],
    lengths: Mapping[str, NDArray[np.int64]],
    available: NDArray[np.bool_],
    encoders: Mapping[str, AffineEncoder],
    read: Callable[[str, NDArray[np.int64], Measured], Array],
    erased: Erased | None = None,
) -> Evidence:
    """The evidence of each available modality, added up, for N rows; rows of one length are computed together.

    ``read(name, rows, measured)`` gives m (len(rows), r); modalities without an encoder are raw. Frames of raw modalities
    that ``erased`` (N, T) marks aren't read; T is at least the longest length.
    """
    c, z = modalities[0].offsets.shape[0], modalities[0].loadings.shape[-1]
    n = len(available)
    total = Evidence(np.zeros((n, z, z)), np.zeros((n, c, z)), np.zeros((n, c)))
    for k, m in enumerate(modalities):
        for rows, model in m.groups(lengths[m.name], available[:, k], encoders.get(m.name)):
            kept = None
            if erased is not None and m.name in erased:
                frames = len(model.loading) // m.dim
                kept = np.repeat(~erased[m.name][rows, :frames], m.dim, axis=1)
            added = Evidence.of(read(m.name, rows, model), model.offsets, model.loading, m.noise**2, kept)
            total.precision[rows] += added.precision
            total.information[rows] += added.information
            total.energy[rows] += added.energy
    return total


def raw_evidence(
    modalities: Sequence[LinearModality],
    features: Mapping[str, Ragged],
    available: NDArray[np.bool_],
    erased: Erased | None = None,
) -> Evidence:
    """The evidence of the available raw features without their ``erased`` (N, T) frames, for N rows."""

    def read(name: str, rows: NDArray[np.int64], measurement: Measured) -> Array:
        return np.stack([features[name][int(i)].astype(np.float64).ravel() for i in rows])

    return evidence(modalities, {k: r.lengths for k, r in features.items()}, available, {}, read, erased)


def encoded_evidence(
    modalities: Sequence[LinearModality],
    operators: Mapping[str, Operator],
    encodings: Mapping[str, Array],
    lengths: Mapping[str, NDArray[np.int64]],
    available: NDArray[np.bool_],
) -> Evidence:
    """The evidence of the available encodings (N, F), of each row its own F."""

    def read(name: str, rows: NDArray[np.int64], measurement: Measured) -> Array:
        return measurement.measure(np.asarray(encodings[name], dtype=np.float64)[rows, : len(measurement.shift)])

    encoders = {name: AffineEncoder.of(operator) for name, operator in operators.items()}
    return evidence(modalities, lengths, available, encoders, read)
