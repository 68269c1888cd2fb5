r"""The known truth with context: clips that follow one another, and exact answers given any cells of a dialogue.

    latent      z_t = F z_(t-1) + N(0, S - F S F'),   z_1 ~ N(0, S)     (stationary; t is the position in the dialogue)
    frames      x_k[t] = b_k + B_k(tau) z_t + sigma_k eps               (as in `imder.synthetic.known_truth`)
    label       y_t = clip(y*_t, -3, 3),                                y*_t = w . z_t + a + sigma_y eps

All of a dialogue is jointly Gaussian, so Kalman smoothing gives p(z_t | available cells of the whole dialogue) and filtering
p(z_t | available cells of this clip and earlier ones), with which label and encodings of the clip are known exactly.

`DialogueTruth.standard` is made so that one clip says little about the modalities that it lacks and its neighbours much:

* voice and face change slowly (correlation .98 from clip to clip), are most of audio and of vision, and say nothing about
  the label;
* language shows a stance that lasts (.85) and the words of the moment, which say most about the label and don't last;
* audio and vision each show something of their own about the label (.85 and .6), and all three faintly a mood (.95).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import SPLITS, Corpus, Split, spec_of
from imder.synthetic.affine import AffineEncoder, Array, LinearModality, Operator
from imder.synthetic.clips import CLASSES, Seed, dialogue_layout, generator, labels_of, split_of
from imder.synthetic.evidence import Erased, Evidence, encoded_evidence, raw_evidence
from imder.synthetic.kalman import innovation, root_of
from imder.synthetic.posterior import EncodingPosterior, LabelPosterior, LatentPosterior
from imder.synthetic.sequences import ClipSequences, Direction
from imder.types import ImderError, Task

TOLERANCE = 1e-9


@dataclass(frozen=True)
class DialogueTruth:
    """The generative model and its exact posteriors; `standard` builds the one of tests and benchmarks.

    Attributes:
        transition: ``(Z, Z)``, F.
        covariance: ``(Z, Z)``, S, of the latent of any clip; S - F S F' must be positive semi-definite.
        modalities: one `LinearModality` each with offsets ``(1, D)``, in the order of every mask.
        label_weights, label_offset, label_noise: w ``(Z,)``, a and sigma_y.
        clips: the shortest and the longest dialogue.
        bounds: where labels are clipped.
        edges: thresholds on y* between the classes negative, neutral and positive.

    The posteriors take a split, in any order, and ``available`` (N, K): only the cells that it marks are read. Clips that the
    split lacks are as good as clips with nothing available. Two arguments say which clips are evidence for a clip:

    * ``direction``: ``both`` for earlier and later ones, ``past`` for earlier ones alone;
    * ``window``: at most so many of the split's clips before (and after) it, 0 for the clip alone, None for all.
    """

    transition: Array
    covariance: Array
    modalities: tuple[LinearModality, ...]
    label_weights: Array
    label_offset: float
    label_noise: float
    clips: tuple[int, int] = (12, 24)
    bounds: tuple[float, float] = (-3.0, 3.0)
    edges: tuple[float, float] = (-0.5, 0.5)

    def __post_init__(self) -> None:
        z = len(self.covariance)
        for name, shape in {"transition": (z, z), "covariance": (z, z), "label_weights": (z,)}.items():
            if getattr(self, name).shape != shape:
                raise ImderError(f"dialogue truth: {name} has shape {getattr(self, name).shape}, needs {shape}")
        for m in self.modalities:
            if m.offsets.shape != (1, m.dim) or m.loadings.shape[1:] != (m.dim, z):
                raise ImderError(f"dialogue truth: {m.name} needs offsets (1, D) and loadings (J, D, {z})")
        if np.linalg.eigvalsh(self.covariance).min() <= TOLERANCE:
            raise ImderError("dialogue truth: covariance must be positive definite")
        if np.linalg.eigvalsh(innovation(self.transition, self.covariance)).min() < -TOLERANCE:
            raise ImderError("dialogue truth: covariance - F covariance F' must be positive semi-definite")

    @classmethod
    def standard(
        cls,
        seed: int = 0,
        dims: Mapping[str, int] | None = None,
        lengths: Mapping[str, tuple[int, int]] | None = None,
    ) -> DialogueTruth:
        """Language 24-d x 6-20 frames, vision 12-d x 8-24, audio 10-d x 8-24; ``dims`` and ``lengths`` change that.

        ``seed`` rotates the directions of features at random; the strengths stay, so the Bayes errors hardly change.

        >>> truth = DialogueTruth.standard()
        >>> split = truth.sample(30, seed=1)
        >>> available = np.array([[True, False, True]] * 30)
        >>> alone, smoothed = (truth.label_posterior(split, available, window=w) for w in (0, None))
        >>> smoothed.stds.shape, bool((smoothed.stds <= alone.stds).all())
        ((30, 1), True)
        """
        dims = {"language": 24, "vision": 12, "audio": 10} | dict(dims or {})
        lengths = {"language": (6, 20), "vision": (8, 24), "audio": (8, 24)} | dict(lengths or {})
        rng = generator((20232, seed))
        # latents:           mood, stance, words, voice, arousal, face, expression
        persistence = np.array([0.98, 0.85, 0.0, 0.98, 0.85, 0.98, 0.6])
        strengths = {
            "language": {0: 0.1, 1: 1.2, 2: 1.2},
            "vision": {0: 0.1, 5: 2.0, 6: 0.8},
            "audio": {0: 0.1, 3: 2.0, 4: 0.8},
        }
        covariance = np.eye(len(persistence))
        covariance[1, 4] = covariance[4, 1] = covariance[4, 6] = covariance[6, 4] = 0.3
        modalities = []
        for name, strength in strengths.items():
            dim = dims[name]
            directions = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
            offsets = 0.5 * rng.standard_normal((1, dim))
            loadings = np.zeros((2, dim, len(persistence)))
            for wave, share in enumerate((1.0, 0.7)):
                for j, (latent, size) in enumerate(strength.items()):
                    loadings[wave, :, latent] = share * size * directions[:, (wave * len(strength) + j) % dim]
            modalities.append(LinearModality(name, lengths[name], offsets, loadings, 1.0))
        return cls(
            transition=np.diag(persistence),
            covariance=covariance,
            modalities=tuple(modalities),
            label_weights=np.array([0.45, 0.6, 0.7, 0.0, 0.35, 0.0, 0.3]),
            label_offset=0.2,
            label_noise=0.5,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Modality names, in the order of every mask."""
        return tuple(m.name for m in self.modalities)

    def __getitem__(self, name: str) -> LinearModality:
        return self.modalities[self.names.index(name)]

    def latents(self, n: int, seed: Seed) -> tuple[NDArray[np.int64], Array, Array]:
        """Sizes of the dialogues, z (n, Z) and y* (n,) behind ``sample(n, seed)``."""
        rng = generator(seed)
        sizes = rng.integers(self.clips[0], self.clips[1] + 1, max(1, -(-n // self.clips[0])))
        position = dialogue_layout(sizes, n)[1]
        first, later = root_of(self.covariance), root_of(innovation(self.transition, self.covariance))
        noise = rng.standard_normal((n, len(self.covariance)))
        z = np.zeros_like(noise)
        for i, step in enumerate(position):
            z[i] = self.transition @ z[i - 1] + later @ noise[i] if step else first @ noise[i]
        star = z @ self.label_weights + self.label_offset + self.label_noise * rng.standard_normal(n)
        return sizes, z, star

    def sample(self, n: int, seed: Seed, prefix: str = "", task: Task = "regression") -> Split:
        """The same n samples for the same seed, in dialogues of ``clips`` clips (the last may be shorter).

        Speakers and texts are uninformative. Ids are ``<prefix><dialogue>$_$<position>``, two speakers for each dialogue.
        """
        sizes, z, star = self.latents(n, seed)
        rng = generator(seed, 7)
        features = {m.name: m.sample(np.zeros(n, np.int64), z, rng) for m in self.modalities}
        return split_of(features, labels_of(star, task, self.bounds, self.edges), sizes, rng, prefix)

    def corpus(
        self, train: int = 2400, valid: int = 600, test: int = 1000, seed: int = 0, task: Task = "regression"
    ) -> Corpus:
        """Three splits that share no dialogue; labels are y, or one of negative, neutral, positive by ``edges`` on y*."""
        sizes = enumerate(zip(SPLITS, (train, valid, test), strict=True))
        splits = {k: self.sample(n, (seed, i + 1), k, task) for i, (k, n) in sizes}
        return Corpus("known-dialogues", spec_of(splits, task, CLASSES if task == "classification" else ()), splits)

    def latent_posterior(
        self,
        split: Split,
        available: NDArray[np.bool_],
        direction: Direction = "both",
        window: int | None = None,
        erased: Erased | None = None,
    ) -> LatentPosterior:
        """p(z | available raw features) for each row, a single component; frames that ``erased`` marks aren't read."""
        evidence = raw_evidence(self.modalities, split.features, available, erased)
        return self._infer(evidence, split, np.arange(len(split)), direction, window)

    def label_posterior(
        self,
        split: Split,
        available: NDArray[np.bool_],
        direction: Direction = "both",
        window: int | None = None,
        erased: Erased | None = None,
    ) -> LabelPosterior:
        """p(y | available raw features) for each row; frames that ``erased`` marks aren't read."""
        return self.label_of(self.latent_posterior(split, available, direction, window, erased))

    def label_of(self, latent: LatentPosterior) -> LabelPosterior:
        """p(y) under a p(z), for instance that of given encodings."""
        variance = np.einsum("i,rcij,j->rc", self.label_weights, latent.covariances, self.label_weights)
        means = latent.means @ self.label_weights + self.label_offset
        return LabelPosterior(latent.weights, means, np.sqrt(variance + self.label_noise**2), *self.bounds)

    def conditional(
        self,
        split: Split,
        available: NDArray[np.bool_],
        missing: str,
        direction: Direction = "both",
        window: int | None = None,
        rows: NDArray[np.int64] | None = None,
    ) -> EncodingPosterior:
        """p(raw features of ``missing`` | available raw features), flattened, for ``rows`` (R,), at the split's lengths.

        Args:
            split: the clips.
            available: (N, K) bool.
            missing: the modality to recover; it may be available in other clips of the dialogue.
            direction: ``both`` or ``past``.
            window: clips before (and after) that are evidence; None for all.
            rows: rows that lack it; None for all of them, in the order of the split.
        """
        rows = self._lacking(available, missing, rows)
        latent = self._infer(raw_evidence(self.modalities, split.features, available), split, rows, direction, window)
        return self._posterior(latent, split, missing, rows, None)

    def encoding_posterior(
        self,
        operators: Mapping[str, Operator],
        encodings: Mapping[str, Array],
        split: Split,
        available: NDArray[np.bool_],
        missing: str,
        direction: Direction = "both",
        window: int | None = None,
        rows: NDArray[np.int64] | None = None,
    ) -> EncodingPosterior:
        """p(encoding of ``missing`` | available encodings) for ``rows`` (R,), at the split's lengths.

        Where the length of the missing sequence is unknown, `UnknownLength.of_latent` takes `encoding_latent`.

        Args:
            operators: affine encoders; pass `AffineEncoder` objects to keep their decompositions between calls.
            encodings: (N, F) each, flattened step after step (see `imder.synthetic.affine.flatten`); only what is
                available is read, and of each row only its own F.
            split: gives dialogues, positions and lengths; its features are not read.
            available: (N, K) bool.
            missing: as in `conditional`, like the rest.
            direction: ``both`` or ``past``.
            window: None for all clips.
            rows: None for all that lack it.
        """
        rows = self._lacking(available, missing, rows)
        latent = self.encoding_latent(operators, encodings, split, available, direction, window, rows)
        return self._posterior(latent, split, missing, rows, AffineEncoder.of(operators[missing]))

    def encoding_latent(
        self,
        operators: Mapping[str, Operator],
        encodings: Mapping[str, Array],
        split: Split,
        available: NDArray[np.bool_],
        direction: Direction = "both",
        window: int | None = None,
        rows: NDArray[np.int64] | None = None,
    ) -> LatentPosterior:
        """p(z | available encodings) for ``rows`` (R,), by default all; arguments as in `encoding_posterior`."""
        lengths = {k: r.lengths for k, r in split.features.items()}
        evidence = encoded_evidence(self.modalities, operators, encodings, lengths, available)
        return self._infer(evidence, split, np.arange(len(split)) if rows is None else rows, direction, window)

    def _lacking(self, available: NDArray[np.bool_], missing: str, rows: NDArray[np.int64] | None) -> NDArray[np.int64]:
        mask = available[:, self.names.index(missing)]
        rows = np.flatnonzero(~mask) if rows is None else rows
        if mask[rows].any():
            raise ImderError(f"{missing} is available in row {rows[mask[rows]][0]}: rows to recover must lack it")
        return rows

    def _posterior(
        self,
        latent: LatentPosterior,
        split: Split,
        missing: str,
        rows: NDArray[np.int64],
        encoder: AffineEncoder | None,
    ) -> EncodingPosterior:
        lengths = split.features[missing].lengths[rows]
        return EncodingPosterior.of(latent, self[missing].groups(lengths, np.ones(len(rows), dtype=bool), encoder))

    def _infer(
        self, evidence: Evidence, split: Split, wanted: NDArray[np.int64], direction: Direction, window: int | None
    ) -> LatentPosterior:
        """p(z) of the rows ``wanted`` given the evidence of all rows of the split."""
        sequences = ClipSequences.of(split, wanted, direction, window)
        answers = sequences.infer(
            self.transition, self.covariance, evidence.precision, evidence.information[:, 0], smooth=direction == "both"
        )
        return LatentPosterior(np.ones((len(wanted), 1)), answers.means[:, None], answers.covariances[:, None])
