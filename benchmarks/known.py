"""Recovery with a known answer: exact distributions of the encoding that R samples of the known-truth corpus lack.

Encodings are standardised (each channel by its deviation over the training samples) so that numbers of different encoders
are comparable. Given the available encodings the exact answer is a mixture over components and lengths
(`imder.synthetic.unknown_length`); a sampler's draws are compared with it and with exact draws. The exact answer also uses
the lengths of the available sequences, which a model doesn't get from their encodings: a small disadvantage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from distances import energy_distance, sliced_wasserstein
from numpy.typing import NDArray
from torch import Tensor

from imder.data.corpus import Split
from imder.data.loader import available_loader, collate
from imder.models.imder.network import IMDerNetwork
from imder.nn.mode import evaluating
from imder.nn.standardize import Standardizer
from imder.synthetic.affine import AffineEncoder, flatten, operator_of, pad, unflatten
from imder.synthetic.known_truth import KnownTruth
from imder.synthetic.posterior import LabelPosterior
from imder.synthetic.unknown_length import UnknownLength
from imder.types import Batch, RecoveredEncoding

Array = NDArray[np.float64]
BLUR = 0.25  # noise added before identifying components, so that slightly wrong samples are still assigned to one


class Encoders:
    """A model's encoders as exact affine maps into standardised encodings, and back."""

    def __init__(self, model: IMDerNetwork, train: Split) -> None:
        self.model = model
        self.width: int = model.config.encoder.width
        with torch.no_grad(), evaluating(model):
            encoded = [model.shared(model.encode(batch)) for batch in available_loader(train, train.present, 256)]
        self.standardizers: dict[str, Standardizer] = {}
        for name in model.spec.names:
            self.standardizers[name] = Standardizer(self.width)
            self.standardizers[name].fit(e[name].transpose(1, 2).flatten(0, 1) for e in encoded)
        self.affine = {m.name: AffineEncoder(operator_of(self._encode(m.name), m.dim)) for m in model.spec.modalities}

    def _encode(self, name: str) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        @torch.no_grad()
        def encode(features: NDArray[np.float32]) -> NDArray[np.float32]:
            lengths = torch.full((len(features),), features.shape[1])
            with evaluating(self.model):
                encodings = {name: self.model.encoders[name](torch.from_numpy(features), lengths)}
                return self.scale(name, self.model.shared(encodings)[name])

        return encode

    def scale(self, name: str, encodings: Tensor) -> NDArray[np.float32]:
        """Standardised encodings ``(..., width, steps)``."""
        scaled: Tensor = self.standardizers[name](encodings.transpose(-1, -2))
        return scaled.transpose(-1, -2).numpy()

    def unscale(self, name: str, scaled: Array) -> Tensor:
        """The inverse of standardising, from flattened ``(..., F)``, as the model's ``(..., width, steps)``."""
        x = torch.from_numpy(unflatten(scaled, self.width).astype(np.float32))
        return self.standardizers[name].inverse(x.transpose(-1, -2)).transpose(-1, -2).contiguous()

    def sample(
        self,
        missing: str,
        encodings: dict[str, Tensor],
        batch: Batch,
        rows: NDArray[np.int64],
        draws: int,
        solver: str = "dpmpp_2m",
        evaluations: int = 8,
        seed: int = 1,
    ) -> Array:
        """The model's own draws (S, R, F) of the modality that R ``rows`` of a batch lack, given their neighbours in it.

        They are independent: of antithetic draws, variances and distances would be biased.
        """
        model, recovery = self.model, self.model.recovery
        index = torch.from_numpy(rows)
        kept = recovery.config
        recovery.config = replace(kept, solver=solver, evaluations=evaluations)
        recovery.antithetic = False  # type: ignore[misc]
        try:
            with torch.no_grad(), evaluating(model):
                observed = model.usable(missing, model.observe(encodings, batch).take(index))
                sampled = recovery.sample(missing, observed, batch.keys[index], draws=draws, seed=seed)
        finally:
            recovery.config = kept
            del recovery.antithetic
        return flatten(self.scale(missing, sampled))


@dataclass
class Case:
    """R samples that lack ``missing`` and have ``given``.

    Attributes:
        exact: the distribution of the missing encoding.
        mean, variance, unit: its mean (R, F), mean total variance, and the root of that: the unit of distances and errors.
        drawn, again: exact draws (S, R, F), twice.
        bayes: mean absolute error of the best prediction of the label.
    """

    truth: KnownTruth
    encoders: Encoders
    split: Split
    missing: str
    given: tuple[str, ...]
    draws: int
    seed: int = 0

    def __post_init__(self) -> None:
        names, model = self.truth.names, self.encoders.model
        self.available = np.array([[k in self.given for k in names]] * len(self.split))
        self.batch: Batch = collate(self.split, np.arange(len(self.split)), self.available)
        with torch.no_grad(), evaluating(model):
            self.encoded = model.encode(self.batch)
        shared = model.shared(self.encoded)
        self.encodings = {k: flatten(self.encoders.scale(k, shared[k])) for k in self.given}
        self.lengths = {k: r.lengths for k, r in self.split.features.items()}
        self.exact = self._posterior(self.encodings, self.available)
        self._alone = self._posterior({}, np.zeros_like(self.available))
        rng = np.random.default_rng(self.seed)
        self.mean = self.exact.mean()
        self.variance = float(self.exact.variance().mean())
        self.unit = self.variance**0.5
        self.drawn, self.again = self.exact.sample(self.draws, rng), self.exact.sample(self.draws, rng)
        self._blur = rng.standard_normal(self.drawn.shape) * BLUR
        self._pairs = self._correlated(self.exact.sample(self.draws, rng))
        self._exact_statistics = self.correlations(self.drawn), self.shares(self.drawn)
        self.labels = self.truth.label_posterior(self.split, self.available)
        self.bayes = float(absolute_error(self.labels, self.labels.median()).mean())

    def _posterior(self, encodings: dict[str, Array], available: NDArray[np.bool_]) -> UnknownLength:
        return UnknownLength.of(self.truth, self.encoders.affine, encodings, self.lengths, available, self.missing)

    def _correlated(self, drawn: Array) -> dict[str, tuple[Array, Array]]:
        """For each available modality, the two directions along which time averages of exact draws covary most."""
        pairs = {}
        mine = self._average(drawn)
        for name, encoding in self.encodings.items():
            other = np.broadcast_to(self._average(encoding), mine.shape)
            a, b = mine.reshape(-1, self.encoders.width), other.reshape(-1, self.encoders.width)
            u, _, vt = np.linalg.svd((a - a.mean(0)).T @ (b - b.mean(0)))
            pairs[name] = (u[:, 0], vt[0])
        return pairs

    def _average(self, flat: Array) -> Array:
        return np.asarray(unflatten(flat, self.encoders.width).mean(-1))

    def correlations(self, drawn: Array) -> dict[str, float]:
        """Correlations of draws with each available modality, along the pair of directions."""
        out = {}
        for name, (u, v) in self._pairs.items():
            mine = self._average(drawn) @ u
            other = np.broadcast_to(self._average(self.encodings[name]) @ v, mine.shape)
            out[name] = float(np.corrcoef(mine.ravel(), other.ravel())[0, 1])
        return out

    def shares(self, drawn: Array) -> Array:
        """The mean probability (R, C) of each component given a sample's draws alone."""
        return np.asarray(self._alone.explain(drawn + self._blur, BLUR)[1].mean(0))

    def sample(self, solver: str, evaluations: int, seed: int = 1) -> Array:
        """The model's own draws (S, R, F)."""
        return self.encoders.sample(
            self.missing, self.encoded, self.batch, np.arange(len(self.split)), self.draws, solver, evaluations, seed
        )

    def measure(self, drawn: Array) -> dict[str, float]:
        """Distances, errors and moments of draws (S, R, F)."""
        correlations, shares = self._exact_statistics
        drawn_correlations, drawn_shares = self.correlations(drawn), self.shares(drawn)
        numbers = {
            **against_exact(drawn, self.drawn, self.mean, self.variance),
            "correlation error": max(abs(drawn_correlations[k] - correlations[k]) for k in correlations),
            "share error": float(abs((drawn_shares - shares).mean(0)).max()),
            "share error by sample": float(abs(drawn_shares - shares).max(1).mean()),
        }
        if len(self.given) == len(self.truth.names) - 1:
            numbers["label MAE"] = self.label_error(drawn)
        return numbers

    def label_error(self, drawn: Array) -> float:
        """Mean absolute error of the recovery branch's prediction, averaged over the draws; exact in expectation."""
        model = self.encoders.model
        sampled = self.encoders.unscale(self.missing, drawn)
        rows = torch.arange(len(self.split))
        with torch.no_grad(), evaluating(model):
            refined = model.refine(self.missing, sampled)
            recovered = {
                self.missing: RecoveredEncoding(rows, sampled, refined, torch.full_like(rows, sampled.shape[-1]))
            }
            available = self.batch.available
            if model.recovery_branch is None:
                output = model.filled_outputs(self.encoded, available, recovered, len(drawn))
            else:
                clips = model.fuse(self.encoded, available)
                output = model.recovery_branch(self.encoded, available, recovered, len(drawn), clips, None)
        return float(absolute_error(self.labels, output.mean((0, 1))[:, 0].double().numpy()).mean())

    def lost_to_encoding(self) -> dict[str, float]:
        """The loss of conditioning on encodings instead of raw features."""
        identity = {
            m.name: AffineEncoder(lambda t, d=m.dim: (np.eye(t * d), np.zeros(t * d)))  # type: ignore[misc]
            for m in self.truth.modalities
            if m.name in self.given
        }
        features = self.split.features
        raw = {k: pad([features[k][i].astype(np.float64).ravel() for i in range(len(self.split))]) for k in identity}
        encoders = {**identity, self.missing: self.encoders.affine[self.missing]}
        better = UnknownLength.of(self.truth, encoders, raw, self.lengths, self.available, self.missing)
        encoded = self.truth.label_of(self.exact.by_length[0].latent)
        return {
            "deviation given encodings": self.unit,
            "deviation given raw features": float(np.sqrt(better.variance().mean())),
            "Bayes label MAE given encodings": float(absolute_error(self.labels, encoded.median()).mean()),
            "Bayes label MAE given raw features": self.bayes,
        }


def against_exact(drawn: Array, exact: Array, mean: Array, variance: float) -> dict[str, float]:
    """Distances and moments of draws (S, R, F) against exact ones, their mean (R, F) and mean total variance."""
    unit = variance**0.5
    noise = float(drawn.var(0, ddof=1).mean())
    bias = float(((drawn.mean(0) - mean) ** 2).mean()) - noise / len(drawn)  # minus the sampling error of S draws
    return {
        "sliced W2": sliced_wasserstein(drawn / unit, exact / unit),
        "energy": energy_distance(drawn / unit, exact / unit),
        "energy, unbiased": energy_distance(drawn / unit, exact / unit, unbiased=True),
        "mean error": max(0.0, bias) ** 0.5 / unit,
        "variance ratio": noise / variance,
    }


def absolute_error(posterior: LabelPosterior, prediction: Array, points: int = 601) -> Array:
    """E|y - prediction| (R,) under the exact label distribution: the integral of P(y <= v) below, of P(y > v) above."""
    low, high = posterior.low, posterior.high
    grid = np.linspace(low, high, points)
    cdf = np.stack([posterior.cdf(np.full(len(prediction), v)) for v in grid])
    inside = np.clip(prediction, low, high)
    step = (high - low) / (points - 1)
    below = (cdf * np.clip((inside - grid[:, None]) / step + 0.5, 0, 1)).sum(0) * step
    above = ((1 - cdf) * np.clip((grid[:, None] - inside) / step + 0.5, 0, 1)).sum(0) * step
    return np.asarray(below + above + abs(prediction - inside))
