"""Recovery given neighbours with a known answer: the encodings that clips of `imder.synthetic.dialogue_truth` lack.

As in `known`, with the exact distribution given the encodings that are available in the clip and in its neighbours, those of
the missing modality included. A network reads of a neighbour the mean of its encoding over time, the exact answer all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from known import Array, Encoders, against_exact
from numpy.typing import NDArray

from imder.data.corpus import Split
from imder.data.dialogues import dialogue_numbers
from imder.data.loader import collate
from imder.nn.mode import evaluating
from imder.synthetic.affine import flatten
from imder.synthetic.dialogue_truth import DialogueTruth
from imder.synthetic.sequences import Direction
from imder.synthetic.unknown_length import UnknownLength


@dataclass
class DialogueCase:
    """Clips of whole dialogues that lack ``missing`` under the masks ``available`` (N, K): R rows that have something else.

    Attributes:
        direction, window: the neighbours that are evidence.
        exact, alone: the distributions of the missing encodings given the neighbours, and given the clip alone.
        mean, variance: of ``exact``: (R, F), and its mean total variance.
        drawn, again: exact draws (S, R, F), twice.
        actual: the encodings that are missing, (R, F).
    """

    truth: DialogueTruth
    encoders: Encoders
    split: Split
    available: NDArray[np.bool_]
    missing: str
    draws: int
    direction: Direction = "both"
    window: int | None = 4
    seed: int = 0

    def __post_init__(self) -> None:
        k, model = self.truth.names.index(self.missing), self.encoders.model
        self.rows = np.flatnonzero(~self.available[:, k] & self.available.any(axis=1))
        every = np.arange(len(self.split))
        self.batch = collate(self.split, every, self.available, dialogue=dialogue_numbers(self.split))
        with torch.no_grad(), evaluating(model):
            self.encoded = model.encode(self.batch)
            shared = model.shared(self.encoded)
        self.encodings = {name: flatten(self.encoders.scale(name, e)) for name, e in shared.items()}
        self.exact = self._posterior(self.direction, self.window)
        self.alone = self._posterior("both", 0)
        self.mean, self.variance = self.exact.mean(), float(self.exact.variance().mean())
        rng = np.random.default_rng(self.seed)
        self.drawn, self.again = self.exact.sample(self.draws, rng), self.exact.sample(self.draws, rng)
        self.actual = self.encoders.affine[self.missing].encode(self.split.features[self.missing].take(self.rows))
        nothing = np.zeros_like(self.available)
        self._prior = self._posterior("both", 0, nothing).mean()

    def _posterior(
        self, direction: Direction, window: int | None, available: NDArray[np.bool_] | None = None
    ) -> UnknownLength:
        mask = self.available if available is None else available
        affine = self.encoders.affine
        latent = self.truth.encoding_latent(affine, self.encodings, self.split, mask, direction, window, rows=self.rows)
        return UnknownLength.of_latent(latent, self.truth[self.missing], affine[self.missing])

    def sample(self, evaluations: int = 8, seed: int = 1) -> Array:
        """The model's own draws (S, R, F)."""
        return self.encoders.sample(
            self.missing, self.encoded, self.batch, self.rows, self.draws, evaluations=evaluations, seed=seed
        )

    def r2(self, mean: Array, noise: float = 0.0) -> float:
        """1 - (error - ``noise``) / variance of a prediction (R, F) of the missing encodings; ``noise`` is its sampling error."""
        error = ((self.actual - mean) ** 2).mean() - noise
        return float(1 - error / ((self.actual - self._prior) ** 2).mean())

    def measure(self, drawn: Array) -> dict[str, float]:
        """Distances and moments of draws (S, R, F), and the R^2 of their mean."""
        noise = float(drawn.var(0, ddof=1).mean()) / len(drawn)
        return {**against_exact(drawn, self.drawn, self.mean, self.variance), "R^2": self.r2(drawn.mean(0), noise)}
