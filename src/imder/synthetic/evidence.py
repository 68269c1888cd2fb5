r"""Evidence: all that measurements of a clip say about its latent z, as sums over its available modalities.

Raw features and encodings of a modality are linear in z, m = beta_c + H z + sqrt(d) * eps with eps ~ N(0, I), and enter
every posterior only through their precision P = H' D^-1 H, information h_c = H' D^-1 (m - beta_c) and energy
q_c = (m - beta_c)' D^-1 (m - beta_c) (up to what all c share). Evidence of several modalities adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Ragged
from imder.synthetic.affine import AffineEncoder, Array, LinearModality, Measured, Operator


@dataclass(frozen=True)
class Evidence:
    """The evidence of a measurement on z: ``precision`` (..., Z, Z), ``information`` (..., C, Z), ``energy`` (..., C)."""

    precision: Array
    information: Array
    energy: Array

    @classmethod
    def of(cls, measured: Array, offsets: Array, loading: Array, variance: Array | float) -> Evidence:
        """The evidence of ``measured`` (..., r) = offsets (C, r) + loading (r, Z) z + noise of ``variance`` (r,)."""
        scaled, whitened = offsets / variance, loading / np.expand_dims(variance, -1)
        return cls(
            loading.T @ whitened,
            (measured @ whitened)[..., None, :] - offsets @ whitened,
            (offsets * scaled).sum(-1) - 2 * measured @ scaled.T,
        )


def evidence(
    modalities: Sequence[LinearModality],
    lengths: Mapping[str, NDArray[np.int64]],
    available: NDArray[np.bool_],
    encoders: Mapping[str, AffineEncoder],
    read: Callable[[str, NDArray[np.int64], Measured], Array],
) -> Evidence:
    """The evidence of each available modality, added up, for N rows; rows of one length are computed together.

    ``read(name, rows, measured)`` gives m (len(rows), r); modalities without an encoder are raw.
    """
    c, z = modalities[0].offsets.shape[0], modalities[0].loadings.shape[-1]
    n = len(available)
    total = Evidence(np.zeros((n, z, z)), np.zeros((n, c, z)), np.zeros((n, c)))
    for k, m in enumerate(modalities):
        for rows, model in m.groups(lengths[m.name], available[:, k], encoders.get(m.name)):
            added = Evidence.of(read(m.name, rows, model), model.offsets, model.loading, m.noise**2)
            total.precision[rows] += added.precision
            total.information[rows] += added.information
            total.energy[rows] += added.energy
    return total


def raw_evidence(
    modalities: Sequence[LinearModality], features: Mapping[str, Ragged], available: NDArray[np.bool_]
) -> Evidence:
    """The evidence of the available raw features, for N rows."""

    def read(name: str, rows: NDArray[np.int64], measurement: Measured) -> Array:
        return np.stack([features[name][int(i)].astype(np.float64).ravel() for i in rows])

    return evidence(modalities, {k: r.lengths for k, r in features.items()}, available, {}, read)


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
