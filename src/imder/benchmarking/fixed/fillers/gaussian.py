r"""Linear fillers: the least-squares mean of the missing codes given the available ones, and Gaussian draws around it.

    u_M = b + W u_A + e,    e ~ N(0, S)

For each set A of available modalities, W is a ridge regression on the training clips that hold everything, and S is the
Ledoit-Wolf covariance of its standardised residuals on held-out dialogues (or speakers).

The penalty is `PENALTY` times the number of clips. On `ravdess_av` the least held-out squared error asks for three to ten
times as much, but what a classifier needs is a small part of the variance, and so much shrinkage removes it: accuracy
drops by 3.5 points. The variants that choose the penalty on held-out error are there as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from imder.benchmarking.fixed.fillers.base import Array, Mask, with_filled
from imder.benchmarking.fixed.fillers.codes import ClipCodes, joined
from imder.benchmarking.fixed.fit_settings import FitSettings
from imder.benchmarking.resampled import clusters_of
from imder.data.split import Split
from imder.diffusion.noise import KeyedNoise
from imder.types import ImderError

PENALTY = 0.28
"""Ridge penalty of a standardised code, for each training clip."""
CHOICES = (0.03, 0.1, 0.28, 1.0, 3.0, 10.0, 30.0)
"""Penalties that are compared on held-out error."""
FOLDS = 4


@dataclass(frozen=True)
class LinearGaussian:
    """The conditional of some columns Y given others X.

    Attributes:
        x_mean, y_mean: ``(P,)`` and ``(Q,)``.
        weight: ``(P, Q)``.
        factor: ``(Q, Q)``, a lower-triangular root of the residuals' covariance.
        penalty: the ridge penalty for each training clip.
    """

    x_mean: Array
    y_mean: Array
    weight: Array
    factor: Array
    penalty: float

    @classmethod
    def fit(cls, x: Array, y: Array, groups: Sequence[str], penalties: Sequence[float]) -> LinearGaussian:
        """Fit to rows ``(N, P)`` and ``(N, Q)``.

        Args:
            x: the given columns; there may be none.
            y: the columns to predict.
            groups: ``(N,)`` names; rows of one group are held out together.
            penalties: for each training clip; of several, the one of the least held-out squared error.
        """
        from sklearn.covariance import LedoitWolf

        _, number = np.unique(np.array(groups), return_inverse=True)
        fold = np.random.default_rng(0).permutation(int(number.max()) + 1)[number] % FOLDS
        residuals = np.zeros((len(penalties), *y.shape))
        for held in [fold == f for f in np.unique(fold)]:
            kept = ~held if (~held).any() else held
            means = x[kept].mean(0), y[kept].mean(0)
            for i, weight in enumerate(_ridge(x[kept] - means[0], y[kept] - means[1], penalties)):
                residuals[i, held] = y[held] - means[1] - (x[held] - means[0]) @ weight
        best = int(np.argmin((residuals**2).mean((1, 2))))
        x_mean, y_mean = x.mean(0), y.mean(0)
        (weight,) = _ridge(x - x_mean, y - y_mean, penalties[best : best + 1])
        # Shrinkage acts on correlations: columns that are predicted well keep their small variance.
        scale = np.sqrt((residuals[best] ** 2).mean(0)) + 1e-9
        correlation = LedoitWolf(assume_centered=True).fit(residuals[best] / scale).covariance_
        factor = scale[:, None] * np.linalg.cholesky(correlation + 1e-6 * np.eye(y.shape[1]))
        return cls(x_mean, y_mean, weight, factor, penalties[best])

    def mean(self, x: Array) -> Array:
        """The conditional mean ``(M, Q)``."""
        return self.y_mean + (x - self.x_mean) @ self.weight


def _ridge(x: Array, y: Array, penalties: Sequence[float]) -> list[Array]:
    """Solutions ``(P, Q)`` of centred rows, one for each penalty."""
    if not x.shape[1]:
        return [np.zeros((0, y.shape[1])) for _ in penalties]
    penalties = [penalty * len(x) for penalty in penalties]
    values, vectors = np.linalg.eigh(x.T @ x)
    values, right = np.maximum(values, 0.0), vectors.T @ (x.T @ y)
    return [vectors @ (right / (values + penalty)[:, None]) for penalty in penalties]


class LinearFill:
    """Least squares, once, or draws around it.

    Args:
        noise: add Gaussian residuals, a new one in each draw.
        tuned: take the penalty of `CHOICES` with the least held-out squared error, instead of `PENALTY`.
    """

    def __init__(self, *, noise: bool, tuned: bool = False) -> None:
        self._noise = noise
        self._penalties = CHOICES if tuned else (PENALTY,)

    def fit(self, train: Split, valid: Split, settings: FitSettings) -> None:
        """Encode the training clips; the regressions follow when a pattern occurs."""
        del valid
        self._codes = ClipCodes(train, settings.spec)
        self._training = self._codes.encode(train)
        self._present, self._groups = train.present, np.array(clusters_of(train)[0])
        self._conditionals: dict[tuple[bool, ...], LinearGaussian] = {}

    def fill(self, split: Split, available: Mask, draws: int, seed: int) -> Iterator[Split]:
        """Yield the split, once for each draw."""
        names, codes = list(split.features), self._codes.encode(split)
        patterns = [tuple(map(bool, p)) for p in np.unique(available, axis=0) if not p.all()]
        means: dict[tuple[bool, ...], Array] = {}
        for pattern in patterns:
            rows = (available == pattern).all(1)
            means[pattern] = self._conditional(names, pattern).mean(joined(_rows(codes, rows), _chosen(names, pattern)))
        for draw in range(draws if self._noise else 1):
            filled = {name: np.zeros((len(split), self._codes.widths[name])) for name in names}
            for pattern, mean in means.items():
                rows = (available == pattern).all(1)
                values = mean
                if self._noise:
                    keys = torch.from_numpy(split.keys[rows])
                    noise = KeyedNoise(keys, _seed_of(seed, draw), torch.float64).normal((len(mean), mean.shape[1]))
                    values = mean + noise.numpy() @ self._conditional(names, pattern).factor.T
                missing = [name for name, is_available in zip(names, pattern, strict=True) if not is_available]
                ends = np.cumsum([self._codes.widths[name] for name in missing])[:-1]
                for name, part in zip(missing, np.split(values, ends, axis=1), strict=True):
                    filled[name][rows] = part
            lacking = {name: ~available[:, k] for k, name in enumerate(names)}
            yield with_filled(
                split,
                available,
                {
                    name: self._codes.decode(name, filled[name][rows], split.keys[rows], _seed_of(seed, draw))
                    for name, rows in lacking.items()
                },
            )

    def _conditional(self, names: list[str], pattern: tuple[bool, ...]) -> LinearGaussian:
        if pattern not in self._conditionals:
            given = _chosen(names, pattern)
            missing = [name for name in names if name not in given]
            rows: Mask = np.asarray(self._present.all(1))
            if not rows.any():
                raise ImderError("linear fillers: no training clip holds all modalities")
            training = _rows(self._training, rows)
            self._conditionals[pattern] = LinearGaussian.fit(
                joined(training, given), joined(training, missing), self._groups[rows].tolist(), self._penalties
            )
        return self._conditionals[pattern]


def _chosen(names: Sequence[str], pattern: Sequence[bool]) -> list[str]:
    return [name for name, chosen in zip(names, pattern, strict=True) if chosen]


def _rows(codes: dict[str, Array], rows: Mask) -> dict[str, Array]:
    return {name: values[rows] for name, values in codes.items()}


def _seed_of(seed: int, draw: int) -> int:
    """One seed for each draw."""
    return seed * 100_003 + draw
