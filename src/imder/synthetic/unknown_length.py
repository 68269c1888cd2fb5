r"""The exact distribution of an encoding of unknown length: a mixture over lengths.

The length T of a missing sequence is unknown, so a recovery model learns p(e | available) with T integrated out:

    p(e | available) = sum_T p(T) p(e | available, T),    p(T | x) ~ p(T) p(x | available, T) for any noisy view x of e,

each term a mixture of Gaussians that `imder.synthetic.posterior.EncodingPosterior` knows exactly. Lengths are equally likely.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imder.synthetic.affine import AffineEncoder, Array, LinearModality
from imder.synthetic.known_truth import KnownTruth
from imder.synthetic.posterior import EncodingPosterior, LatentPosterior


@dataclass(frozen=True)
class UnknownLength:
    """p(encoding of a missing modality | what is available), for R rows; ``by_length`` has the posterior of each length."""

    by_length: tuple[EncodingPosterior, ...]

    @classmethod
    def of(
        cls,
        truth: KnownTruth,
        encoders: Mapping[str, AffineEncoder],
        encodings: Mapping[str, Array],
        lengths: Mapping[str, NDArray[np.int64]],
        available: NDArray[np.bool_],
        missing: str,
    ) -> UnknownLength:
        """From what `KnownTruth.encoding_posterior` takes; ``lengths[missing]`` isn't read."""
        low, high = truth[missing].lengths
        rows = len(available)
        return cls(
            tuple(
                truth.encoding_posterior(
                    encoders, encodings, {**lengths, missing: np.full(rows, length)}, available, missing
                )
                for length in range(low, high + 1)
            )
        )

    @classmethod
    def of_latent(cls, latent: LatentPosterior, missing: LinearModality, encoder: AffineEncoder) -> UnknownLength:
        """From p(c, z) of R rows, for instance that of `DialogueTruth.encoding_latent`."""
        rows = len(latent.weights)
        low, high = missing.lengths
        return cls(
            tuple(
                EncodingPosterior.of(latent, missing.groups(np.full(rows, length), np.ones(rows, dtype=bool), encoder))
                for length in range(low, high + 1)
            )
        )

    @property
    def weights(self) -> Array:
        """(R, C): p(c | what is available); it doesn't depend on the length."""
        return self.by_length[0].weights

    def mean(self) -> Array:
        """The conditional mean (R, F)."""
        return np.asarray(np.mean([p.mean() for p in self.by_length], axis=0))

    def variance(self) -> Array:
        """The total conditional variance (R, F) of each coordinate."""
        means = np.stack([p.mean() for p in self.by_length])
        return np.asarray(np.mean([p.variance() for p in self.by_length], axis=0) + means.var(0))

    def sample(self, draws: int, rng: np.random.Generator) -> Array:
        """Exact draws (S, R, F)."""
        chosen = rng.integers(0, len(self.by_length), (draws, len(self.weights)))
        out = np.empty((draws, *self.by_length[0].mean().shape))
        for i, posterior in enumerate(self.by_length):
            mine = chosen == i
            if mine.any():
                out[mine] = posterior.sample(draws, rng)[mine]
        return out

    def denoise(self, noisy: Array, sigma: float) -> Array:
        """E[e | e + sigma n = noisy] (..., R, F): the exact denoiser."""
        return self.explain(noisy, sigma)[0]

    def explain(self, noisy: Array, sigma: float) -> tuple[Array, Array, Array]:
        """As `EncodingPosterior.explain`, with the length integrated out."""
        explained = [p.explain(noisy, sigma) for p in self.by_length]
        likelihoods = np.stack([x[2] for x in explained])
        largest = likelihoods.max(0)
        weights = np.exp(likelihoods - largest)
        total = weights.sum(0)
        weights /= total
        clean = sum(
            (w[..., None] * x[0] for w, x in zip(weights, explained, strict=True)), np.zeros_like(explained[0][0])
        )
        shares = sum(
            (w[..., None] * x[1] for w, x in zip(weights, explained, strict=True)), np.zeros_like(explained[0][1])
        )
        return clean, shares, largest + np.log(total / len(self.by_length))
