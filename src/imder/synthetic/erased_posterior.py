r"""Exact distributions of sequences some of whose frames are erased: raw features, and affine encodings of them.

Given z the frames of a modality are independent, so remaining frames say something about erased ones through p(c, z) alone:

    x_t is known where it remains,    x_t | c, z ~ N(b_kc + B_k(tau_t) z, sigma_k^2)  where it is erased,

with (c, z) from everything that remains, the sequence itself included: `KnownTruth.latent_posterior` or
`DialogueTruth.latent_posterior` under the same erasure. An affine encoding A x + a whose steps read both kinds of frames is
known in part: its distribution follows from that of x.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Ragged
from imder.synthetic.affine import AffineEncoder, Array, LinearModality, Operator, pad
from imder.synthetic.evidence import Mask
from imder.synthetic.posterior import EncodingPosterior, LatentPosterior


@dataclass(frozen=True)
class ErasedPosterior:
    """p(sequence of a modality | all remaining frames) for R rows.

    Attributes:
        posterior: p(raw features) of a new sequence of each row's length, under the same (c, z).
        features: ``(R, F)``, the remaining frames, flattened; 0 at erased ones.
        erased: ``(R, F)``, the coordinates of erased frames.
        dim: D; F is D times the longest length. Values beyond a row's length are 0.

    >>> from imder.synthetic.known_truth import KnownTruth
    >>> truth = KnownTruth.standard()
    >>> split = truth.sample(3, seed=1)
    >>> erased = {m.name: np.random.default_rng(0).random((3, m.lengths[1])) < 0.5 for m in truth.modalities}
    >>> latent = truth.latent_posterior(split, split.present, erased)
    >>> posterior = ErasedPosterior.of(latent, truth["audio"], split.features["audio"], erased["audio"])
    >>> posterior.mean().shape, posterior.sample(4, np.random.default_rng(0)).shape
    ((3, 22, 10), (4, 3, 22, 10))
    """

    posterior: EncodingPosterior
    features: Array
    erased: Mask
    dim: int

    @classmethod
    def of(
        cls, latent: LatentPosterior, modality: LinearModality, features: Ragged, erased: NDArray[np.bool_]
    ) -> ErasedPosterior:
        """From p(c, z | all remaining frames), the sequences of R rows, and their ``erased`` (R, T) frames."""
        rows = np.ones(len(features), dtype=bool)
        posterior = EncodingPosterior.of(latent, modality.groups(features.lengths, rows, None))
        values = pad([features[i].astype(np.float64).ravel() for i in range(len(features))])
        coordinates = np.repeat(erased, modality.dim, axis=1)[:, : values.shape[1]]
        coordinates &= np.arange(values.shape[1]) < posterior.sizes[:, None]
        return cls(posterior, np.where(coordinates, 0.0, values), coordinates, modality.dim)

    def mean(self) -> Array:
        """E[features | what remains], ``(R, T, D)``: remaining frames as they are."""
        return self._shaped(np.where(self.erased, self.posterior.mean(), self.features))

    def variance(self) -> Array:
        """The conditional variance ``(R, T, D)`` of each feature, 0 at remaining frames."""
        return self._shaped(np.where(self.erased, self.posterior.variance(), 0.0))

    def sample(self, draws: int, rng: np.random.Generator) -> Array:
        """Exact draws ``(S, R, T, D)``: remaining frames as they are."""
        return self._shaped(np.where(self.erased, self.posterior.sample(draws, rng), self.features))

    def encoding_mean(self, operator: Operator) -> Array:
        """E[A x + a | what remains], ``(R, F)``, flattened step after step (`imder.synthetic.affine.flatten`)."""
        means = self.mean().reshape(len(self.features), -1)
        encoder = AffineEncoder.of(operator)
        rows = []
        for mean, size in zip(means, self.posterior.sizes.tolist(), strict=True):
            matrix, offset = encoder(size // self.dim)
            rows.append(matrix @ mean[:size] + offset)
        return pad(rows)

    def encoding_variance(self, operator: Operator) -> Array:
        """The conditional variance ``(R, F)`` of each coordinate of A x + a."""
        encoder = AffineEncoder.of(operator)
        out = [np.zeros(0)] * len(self.features)
        latent = self.posterior.latent
        for rows, model in self.posterior.groups:
            matrix = encoder(len(model.loading) // self.dim)[0]
            for row in rows.tolist():
                unknown = matrix * self.erased[row, : len(model.loading)]
                weights, means = latent.weights[row], latent.means[row]
                offsets, signal = model.offsets @ unknown.T, unknown @ model.loading
                within = np.einsum("c,cij->ij", weights, latent.covariances[row])
                by_component = offsets + means @ signal.T
                spread = weights @ (by_component - weights @ by_component) ** 2
                noise = model.noise**2 * (unknown**2).sum(1)
                out[row] = spread + np.einsum("fi,ij,fj->f", signal, within, signal) + noise
        return pad(out)

    def encoding_sample(self, operator: Operator, draws: int, rng: np.random.Generator) -> Array:
        """Exact draws ``(S, R, F)`` of A x + a."""
        drawn = self.sample(draws, rng).reshape(draws, len(self.features), -1)
        encoder = AffineEncoder.of(operator)
        encoded: list[Array] = []
        for row, size in enumerate(self.posterior.sizes.tolist()):
            matrix, offset = encoder(size // self.dim)
            encoded.append(drawn[:, row, :size] @ matrix.T + offset)
        longest = max((x.shape[1] for x in encoded), default=0)
        return np.stack([np.pad(x, ((0, 0), (0, longest - x.shape[1]))) for x in encoded], axis=1)

    def _shaped(self, flat: Array) -> Array:
        return np.asarray(flat.reshape(*flat.shape[:-1], -1, self.dim))
