r"""The known-truth corpus: sequences and labels whose conditional distributions are all known.

    component   c ~ pi                                        (C kinds of clips)
    latent      z | c ~ N(m_c, S_c)
    frames      x_k[t] = b_kc + B_k(tau_t) z + sigma_k eps,  B_k(tau) = sum_j B_kj cos(pi j tau), tau_t = (t + .5) / T_k
    label       y = clip(y*, -3, 3),                         y* = w . z + a_c + sigma_y eps

Lengths are independent of c and z. Given c, features and label are jointly Gaussian, so `imder.synthetic.posterior`
conditions exactly.

`KnownTruth.standard` has C = 4 components from two signs (s1, s2), and latents that no single modality shows completely:

* audio depends on s1, vision on s2, language on both: given audio (or vision) alone language has two clearly separate modes;
* the sum of both signs shifts a latent that all three share: audio is weakly informative about s2, vision about s1;
* one latent appears in language alone, one in audio alone and one in vision alone; latents are correlated.

Its Bayes MAE: all .51, language .62, vision .91, audio .86, language + vision .57, language + audio .56, vision + audio
.65, nothing 1.15; the label noise alone costs .8 sigma_y = .52 (before clipping), which no method can avoid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import SPLITS, Corpus, Split, spec_of
from imder.synthetic.affine import AffineEncoder, Array, LinearModality, Operator
from imder.synthetic.clips import CLASSES, Seed, generator, labels_of, split_of
from imder.synthetic.evidence import Erased, encoded_evidence, raw_evidence
from imder.synthetic.posterior import EncodingPosterior, LabelPosterior, LatentPosterior
from imder.types import ImderError, Task


@dataclass(frozen=True)
class KnownTruth:
    """The generative model and its exact posteriors; `standard` builds the one of the demo, tests and benchmarks.

    Attributes:
        weights: ``(C,)``, pi; positive, summing to 1.
        means: ``(C, Z)``, m_c.
        covariances: ``(C, Z, Z)``, S_c.
        modalities: one `LinearModality` each, in the order of every mask.
        label_weights, label_offsets, label_noise: w ``(Z,)``, a ``(C,)`` and sigma_y.
        bounds: where labels are clipped.
        edges: thresholds on y* between the classes negative, neutral and positive.

    Rows of a split given to any method may lack modalities or hold NaN in them: only what ``available`` (N, K) marks is
    read. A row with nothing available gets the prior.
    """

    weights: Array
    means: Array
    covariances: Array
    modalities: tuple[LinearModality, ...]
    label_weights: Array
    label_offsets: Array
    label_noise: float
    bounds: tuple[float, float] = (-3.0, 3.0)
    edges: tuple[float, float] = (-0.5, 0.5)

    def __post_init__(self) -> None:
        c, z = self.means.shape
        shapes = {"weights": (c,), "covariances": (c, z, z), "label_weights": (z,), "label_offsets": (c,)}
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ImderError(f"known truth: {name} has shape {getattr(self, name).shape}, needs {shape}")
        for m in self.modalities:
            if m.offsets.shape != (c, m.dim) or m.loadings.shape[1:] != (m.dim, z):
                raise ImderError(f"known truth: {m.name} needs offsets ({c}, D) and loadings (J, D, {z})")
        if abs(self.weights.sum() - 1) > 1e-9 or self.weights.min() <= 0:
            raise ImderError(f"known truth: weights must be positive and sum to 1, got {self.weights.tolist()}")

    @classmethod
    def standard(
        cls,
        seed: int = 0,
        dims: Mapping[str, int] | None = None,
        lengths: Mapping[str, tuple[int, int]] | None = None,
    ) -> KnownTruth:
        """Language 24-d x 6-20 frames, vision 12-d x 8-24, audio 10-d x 8-24; ``dims`` and ``lengths`` change that.

        ``seed`` rotates the directions of features at random; the strengths stay, so the Bayes errors hardly change.

        >>> truth = KnownTruth.standard()
        >>> split = truth.sample(5, seed=1)
        >>> truth.label_posterior(split, np.array([[True, False, True]] * 5)).median().shape
        (5,)
        """
        dims = {"language": 24, "vision": 12, "audio": 10} | dict(dims or {})
        lengths = {"language": (6, 20), "vision": (8, 24), "audio": (8, 24)} | dict(lengths or {})
        rng = generator((20231, seed))
        s1, s2 = np.array([1.0, 1.0, -1.0, -1.0]), np.array([1.0, -1.0, 1.0, -1.0])
        # latents: 0 audio + language, 1 audio, 2 vision + language, 3 vision, 4 language, 5 all
        means = np.zeros((4, 6))
        means[:, 5] = 0.4 * (s1 + s2)
        covariances = np.tile(np.eye(6), (4, 1, 1))
        covariances[:, 0, 4] = covariances[:, 4, 0] = covariances[:, 2, 4] = covariances[:, 4, 2] = 0.4
        covariances[:, 0, 2] = covariances[:, 2, 0] = 0.2 + 0.4 * s1 * s2
        signs = {"language": (2.0 * s1, 2.0 * s2), "vision": (1.5 * s2,), "audio": (1.5 * s1,)}
        latents = {"language": (0, 2, 4, 5), "vision": (2, 3, 5), "audio": (0, 1, 5)}
        modalities = []
        for name, indices in latents.items():
            dim = dims[name]
            directions = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
            offsets = np.tile(0.5 * rng.standard_normal(dim), (4, 1))
            for j, shift in enumerate(signs[name]):
                offsets += np.outer(shift, directions[:, j % dim])
            loadings = np.zeros((2, dim, 6))
            for wave, strength in enumerate((1.5, 1.0)):
                for j, latent in enumerate(indices):
                    column = len(signs[name]) + wave * len(indices) + j
                    loadings[wave, :, latent] = strength * directions[:, column % dim]
            modalities.append(LinearModality(name, lengths[name], offsets, loadings, 1.0))
        return cls(
            weights=np.array([0.32, 0.26, 0.24, 0.18]),
            means=means,
            covariances=covariances,
            modalities=tuple(modalities),
            label_weights=np.array([0.21, 0.34, 0.17, 0.3, 0.62, 0.11]),
            label_offsets=0.65 * s1 + 0.53 * s2 + 0.1 * s1 * s2,
            label_noise=0.65,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Modality names, in the order of every mask."""
        return tuple(m.name for m in self.modalities)

    def latents(self, n: int, seed: Seed) -> tuple[NDArray[np.int64], Array, Array]:
        """Component (n,), z (n, Z) and y* (n,) behind ``sample(n, seed)``."""
        rng = generator(seed)
        component = rng.choice(len(self.weights), n, p=self.weights)
        root = np.linalg.cholesky(self.covariances)
        noise = rng.standard_normal((n, self.means.shape[1]))
        z = self.means[component] + np.einsum("nij,nj->ni", root[component], noise)
        star = z @ self.label_weights + self.label_offsets[component] + self.label_noise * rng.standard_normal(n)
        return component, z, star

    def sample(self, n: int, seed: Seed, prefix: str = "", task: Task = "regression") -> Split:
        """The same n samples for the same seed, in dialogues of 4-8 clips (the last may be shorter).

        The clips of a dialogue are independent, and speakers and texts are uninformative, so context has no use.
        Ids are ``<prefix><dialogue>$_$<position>``, two speakers for each dialogue.
        """
        component, z, star = self.latents(n, seed)
        rng = generator(seed, 7)
        features = {m.name: m.sample(component, z, rng) for m in self.modalities}
        sizes = rng.integers(4, 9, n)  # at most one dialogue for each clip
        labels = labels_of(star, task, self.bounds, self.edges)
        return split_of(features, labels, sizes, rng, prefix)

    def corpus(
        self, train: int = 2400, valid: int = 600, test: int = 1000, seed: int = 0, task: Task = "regression"
    ) -> Corpus:
        """Three splits that share no dialogue; labels are y, or one of `CLASSES` by ``edges`` on y*."""
        sizes = dict(zip(SPLITS, (train, valid, test), strict=True))
        splits = {k: self.sample(n, (seed, i + 1), k, task) for i, (k, n) in enumerate(sizes.items())}
        return Corpus("known-truth", spec_of(splits, task, CLASSES if task == "classification" else ()), splits)

    def prior(self) -> LatentPosterior:
        """p(c, z), with one row."""
        return LatentPosterior(self.weights[None], self.means[None], self.covariances[None])

    def latent_posterior(
        self, split: Split, available: NDArray[np.bool_], erased: Erased | None = None
    ) -> LatentPosterior:
        """p(c, z | available raw features) for each row, without the frames that ``erased`` (N, T) marks."""
        return self.prior().given(raw_evidence(self.modalities, split.features, available, erased))

    def responsibilities(self, split: Split, available: NDArray[np.bool_]) -> Array:
        """p(c | available raw features), (N, C)."""
        return self.latent_posterior(split, available).weights

    def label_posterior(
        self, split: Split, available: NDArray[np.bool_], erased: Erased | None = None
    ) -> LabelPosterior:
        """p(y | available raw features) for each row, without the frames that ``erased`` (N, T) marks."""
        return self.label_of(self.latent_posterior(split, available, erased))

    def label_of(self, latent: LatentPosterior) -> LabelPosterior:
        """p(y) under a p(c, z), for instance that of given encodings (`EncodingPosterior.latent`)."""
        variance = np.einsum("i,rcij,j->rc", self.label_weights, latent.covariances, self.label_weights)
        means = latent.means @ self.label_weights + self.label_offsets
        return LabelPosterior(latent.weights, means, np.sqrt(variance + self.label_noise**2), *self.bounds)

    def conditional(
        self, split: Split, available: NDArray[np.bool_], missing: str, lengths: NDArray[np.int64] | None = None
    ) -> EncodingPosterior:
        """p(raw features of ``missing`` | available raw features), flattened, at ``lengths`` (N,) (the split's own)."""
        lengths = split.features[missing].lengths if lengths is None else lengths
        return self._posterior(self.latent_posterior(split, available), available, missing, lengths, None)

    def conditional_draws(
        self,
        split: Split,
        available: NDArray[np.bool_],
        missing: str,
        draws: int,
        rng: np.random.Generator,
        lengths: NDArray[np.int64] | None = None,
    ) -> Array:
        """Exact draws (S, N, T, D) of the raw features of ``missing``, zero beyond each row's length."""
        flat = self.conditional(split, available, missing, lengths).sample(draws, rng)
        return flat.reshape(draws, len(split), -1, self[missing].dim)

    def conditional_mean(
        self, split: Split, available: NDArray[np.bool_], missing: str, lengths: NDArray[np.int64] | None = None
    ) -> Array:
        """E[raw features of ``missing`` | available raw features], (N, T, D), zero beyond each row's length."""
        flat = self.conditional(split, available, missing, lengths).mean()
        return flat.reshape(len(split), -1, self[missing].dim)

    def encoding_posterior(
        self,
        operators: Mapping[str, Operator],
        encodings: Mapping[str, Array],
        lengths: Mapping[str, NDArray[np.int64]],
        available: NDArray[np.bool_],
        missing: str,
    ) -> EncodingPosterior:
        """p(encoding of ``missing`` | encodings of what is available), for N rows.

        Args:
            operators: affine encoders; pass `AffineEncoder` objects to keep their decompositions between calls.
            encodings: (N, F) each, flattened step after step (see `imder.synthetic.affine.flatten`); only what is
                available is read, and of each row only its own F.
            lengths: frames T of each row and modality, (N,) each, of ``missing`` too.
            available: (N, K) bool.
            missing: the modality to recover; available in no row.
        """
        latent = self._encoded(operators, encodings, lengths, available)
        return self._posterior(latent, available, missing, lengths[missing], AffineEncoder.of(operators[missing]))

    def encoding_responsibilities(
        self,
        operators: Mapping[str, Operator],
        encodings: Mapping[str, Array],
        lengths: Mapping[str, NDArray[np.int64]],
        available: NDArray[np.bool_],
    ) -> Array:
        """p(c | encodings of what is available), (N, C): for drawn encodings too, each draw being one row.

        Averaged over draws of e_missing, p(c | e_missing) or p(c | e_available, e_missing) shows each component's
        share; under exact draws the second is p(c | e_available) on average.
        """
        return self._encoded(operators, encodings, lengths, available).weights

    def __getitem__(self, name: str) -> LinearModality:
        return self.modalities[self.names.index(name)]

    def _encoded(
        self,
        operators: Mapping[str, Operator],
        encodings: Mapping[str, Array],
        lengths: Mapping[str, NDArray[np.int64]],
        available: NDArray[np.bool_],
    ) -> LatentPosterior:
        return self.prior().given(encoded_evidence(self.modalities, operators, encodings, lengths, available))

    def _posterior(
        self,
        latent: LatentPosterior,
        available: NDArray[np.bool_],
        missing: str,
        lengths: NDArray[np.int64],
        encoder: AffineEncoder | None,
    ) -> EncodingPosterior:
        if available[:, self.names.index(missing)].any():
            raise ImderError(f"{missing} is available in some rows: a modality to recover must be missing in all")
        return EncodingPosterior.of(latent, self[missing].groups(lengths, np.ones(len(lengths), dtype=bool), encoder))
