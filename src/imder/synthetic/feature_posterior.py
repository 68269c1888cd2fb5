r"""Exact joint distribution of the raw features that a clip lacks, lengths included.

    (c, z) ~ p(c, z | what is available),   T_k ~ its prior,   x_k[t] = b_kc + B_k(tau_t) z + sigma_k eps

Several missing modalities share c and z, so a draw of them is a joint one. What is available enters through p(c, z) alone:
take `KnownTruth.latent_posterior` for a clip, `DialogueTruth.latent_posterior` for a clip and its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Ragged
from imder.synthetic.affine import AffineEncoder, Array, LinearModality, Operator
from imder.synthetic.posterior import EncodingPosterior, LatentPosterior
from imder.synthetic.unknown_length import UnknownLength
from imder.types import ImderError


@dataclass(frozen=True)
class FeatureDraws:
    """S draws of one modality for R clips: ``features`` (S, R, T, D), 0 beyond ``lengths`` (S, R)."""

    features: NDArray[np.float32]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, sequences: Ragged, draws: int) -> FeatureDraws:
        """From S R sequences, draw after draw."""
        steps = np.arange(int(sequences.lengths.max(initial=1)))
        valid = steps < sequences.lengths[:, None]
        features = np.zeros((*valid.shape, sequences.dim), np.float32)
        features[valid] = sequences.values
        return cls(
            features.reshape(draws, -1, *features.shape[1:]), sequences.lengths.astype(np.int64).reshape(draws, -1)
        )

    def sequences(self) -> Ragged:
        """The S R sequences, draw after draw."""
        lengths = self.lengths.ravel()
        valid = np.arange(self.features.shape[2]) < lengths[:, None]
        return Ragged(self.features.reshape(*valid.shape, -1)[valid], np.concatenate([[0], np.cumsum(lengths)]))


@dataclass(frozen=True)
class FeaturePosterior:
    """p(raw features and lengths of the missing modalities | what is available), for R clips.

    Attributes:
        latent: p(c, z | what is available), R rows.
        missing: the modalities that all of these clips lack.

    >>> from imder.synthetic.known_truth import KnownTruth
    >>> truth = KnownTruth.standard()
    >>> available = np.array([[False, True, False]] * 3)
    >>> latent = truth.latent_posterior(truth.sample(3, seed=1), available)
    >>> posterior = FeaturePosterior(latent, (truth["language"], truth["audio"]))
    >>> drawn = posterior.sample(5, np.random.default_rng(0))
    >>> drawn["audio"].features.shape, posterior.mean("audio", length=9).shape
    ((5, 3, 24, 10), (3, 9, 10))
    """

    latent: LatentPosterior
    missing: tuple[LinearModality, ...]

    def __getitem__(self, name: str) -> LinearModality:
        for modality in self.missing:
            if modality.name == name:
                return modality
        raise ImderError(f"{name} isn't missing here; missing are {', '.join(m.name for m in self.missing)}")

    def sample(
        self, draws: int, rng: np.random.Generator, lengths: Mapping[str, NDArray[np.int64]] | None = None
    ) -> dict[str, FeatureDraws]:
        """Exact joint draws of the missing modalities, at ``lengths`` (R,) where given and at random ones elsewhere."""
        component, z = self.latent.sample(draws, rng)
        component, z = component.ravel(), z.reshape(component.size, -1)
        given = {name: np.tile(values, draws) for name, values in (lengths or {}).items()}
        return {m.name: FeatureDraws.of(m.sample(component, z, rng, given.get(m.name)), draws) for m in self.missing}

    def at(self, name: str, length: int) -> EncodingPosterior:
        """p(features of ``name`` | what is available) at a given length, flattened (R, T D)."""
        rows = len(self.latent.weights)
        return EncodingPosterior.of(self.latent, self[name].groups(np.full(rows, length), np.ones(rows, bool), None))

    def mean(self, name: str, length: int) -> Array:
        """E[features of ``name`` | what is available] at a given length, (R, T, D)."""
        return self.at(name, length).mean().reshape(-1, length, self[name].dim)

    def variance(self, name: str, length: int) -> Array:
        """The variance of each feature given what is available and the length, (R, T, D)."""
        return self.at(name, length).variance().reshape(-1, length, self[name].dim)

    def summary(self, name: str, operator: Operator) -> UnknownLength:
        """p(A_T x + a_T | what is available) of affine summaries (R, F) of ``name``, whatever its length T."""
        return UnknownLength.of_latent(self.latent, self[name], AffineEncoder.of(operator))
