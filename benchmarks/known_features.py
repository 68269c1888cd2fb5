"""Imputation with a known answer: drawn raw features of the known-truth corpora against their exact distribution.

Sequences of random lengths are compared by a summary of fixed length: their values at `GRID` relative times (linear
interpolation), their average over time, the deviation over time and that of successive differences, feature by feature, each
in units of its deviation over all clips. The first two are affine in the sequence, so their exact conditional mean and
variance are closed forms, the unknown length integrated out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from distances import energy_distance, sliced_wasserstein
from numpy.typing import NDArray

from imder.synthetic.affine import Array, LinearModality, Operator
from imder.synthetic.evidence import raw_evidence
from imder.synthetic.feature_posterior import FeatureDraws, FeaturePosterior
from imder.synthetic.posterior import LatentPosterior

GRID = 6
LIKELY = 0.2  # the least probability of a component that draws of a clip must show
JOINT = "joint"
Numbers = dict[str, float]
Drawn = Mapping[str, FeatureDraws]


def resampling(length: int) -> Array:
    """(GRID + 1, T): linear interpolation at the middles of GRID equal parts of the time, and the average.

    >>> resampling(2)[[0, 2, -1]].round(2).tolist()
    [[1.0, 0.0], [0.67, 0.33], [0.5, 0.5]]
    """
    wanted, given = (np.arange(GRID) + 0.5) / GRID, (np.arange(length) + 0.5) / length
    grid = [np.interp(wanted, given, unit) for unit in np.eye(length)]
    return np.concatenate([np.stack(grid, 1), np.full((1, length), 1 / length)]).astype(np.float64)


def affine_summary(dim: int) -> Operator:
    """The affine part of a summary of (T, dim) features: (GRID + 1) dim values."""

    def operator(length: int) -> tuple[Array, Array]:
        return np.kron(resampling(length), np.eye(dim)), np.zeros((GRID + 1) * dim)

    return operator


def summarize(draws: FeatureDraws) -> Array:
    """Summaries (S, R, (GRID + 3) D): grid, average, deviation and deviation of differences."""
    dim = draws.features.shape[-1]
    out = np.empty((*draws.lengths.shape, GRID + 3, dim))
    for length in np.unique(draws.lengths):
        chosen = draws.lengths == length
        x = draws.features[chosen, :length].astype(np.float64)
        steps = np.diff(x, axis=1)
        roughness = np.sqrt((steps**2).mean(1)) if length > 1 else np.zeros((len(x), dim))
        out[chosen] = np.concatenate([resampling(int(length)) @ x, x.std(1)[:, None], roughness[:, None]], 1)
    return out.reshape(*draws.lengths.shape, -1)


@dataclass
class FeatureCase:
    """R clips that lack the modalities ``missing``, with the exact distribution of their raw features.

    Attributes:
        latent: p(c, z | what is available), R rows.
        prior: p(c, z), one row.
        missing: these modalities; draws of several are joint.
        available: what draws must correlate with, (R, ...) each: averages over time of the available modalities.
        draws: S.
        drawn: exact draws, which others are compared with.
    """

    latent: LatentPosterior
    prior: LatentPosterior
    missing: tuple[LinearModality, ...]
    available: Mapping[str, Array]
    draws: int
    seed: int = 0

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.exact = FeaturePosterior(self.latent, self.missing)
        self.drawn = self.exact.sample(self.draws, rng)
        prior = FeaturePosterior(self.prior, self.missing)
        self.unit = {name: summarize(draws).std((0, 1)) for name, draws in prior.sample(4000, rng).items()}
        for unit in self.unit.values():
            unit[unit < 1e-6 * unit.max()] = 1.0  # the deviation over time of single vectors
        self._summaries = {name: self._summary(name, draws) for name, draws in self.drawn.items()}
        self._shares = {name: self.shares(name, draws) for name, draws in self.drawn.items()}
        self._moments: dict[str, tuple[Array, Array, Array]] = {}
        for m in self.missing:
            operator, unit = affine_summary(m.dim), self.unit[m.name][: (GRID + 1) * m.dim]
            summary = self.exact.summary(m.name, operator)
            overall = prior.summary(m.name, operator).mean() / unit
            self._moments[m.name] = summary.mean() / unit, summary.variance() / unit**2, overall
        # Directions are found in other draws, so that correlations along them aren't those of an overfitted pair.
        others = self.exact.sample(4 * self.draws, rng)
        averages = {name: self._average(name, {name: self._summary(name, draws)}) for name, draws in others.items()}
        self._pairs = {
            name: {k: _directions(x, given) for k, given in self.available.items()} for name, x in averages.items()
        }
        centred = [x - x.mean(0) for x in averages.values()]
        self._joint_pair = _directions(*centred[:2]) if len(centred) > 1 else None

    def measure(self, drawn: Drawn) -> dict[str, Numbers]:
        """Numbers of each missing modality, and of all together (`JOINT`) where several are missing."""
        summaries = {name: self._summary(name, drawn[name]) for name in self.names}
        out = {
            name: {
                **self._distances(x, self._summaries[name]),
                **self._marginal(name, x),
                "correlation error": self._correlation_error(name, summaries),
                "length TV": self.length_distance(name, drawn[name].lengths),
                **(self._modes(name, x, drawn[name]) if self.prior.weights.shape[1] > 1 else {}),
            }
            for name, x in summaries.items()
        }
        if len(self.missing) > 1:
            joint, exact = (np.concatenate(list(x.values()), -1) for x in (summaries, self._summaries))
            out[JOINT] = self._distances(joint, exact) | {"correlation error": self._joint_correlation_error(summaries)}
        return out

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the missing modalities."""
        return tuple(m.name for m in self.missing)

    def _summary(self, name: str, draws: FeatureDraws) -> Array:
        return summarize(draws) / self.unit[name]

    def _average(self, name: str, summaries: Mapping[str, Array]) -> Array:
        """Averages over time (S, R, D)."""
        dim = self.exact[name].dim
        return summaries[name][..., GRID * dim : (GRID + 1) * dim]

    def _distances(self, x: Array, exact: Array) -> Numbers:
        return {"sliced W2": sliced_wasserstein(x, exact), "energy": energy_distance(x, exact, unbiased=True)}

    def _marginal(self, name: str, x: Array) -> Numbers:
        """Mean, variances and coverage of summaries (S, R, F)."""
        mean, variance, overall = self._moments[name]
        dim, affine = self.exact[name].dim, x[..., : mean.shape[-1]]
        noise = affine.var(0, ddof=1)
        error = ((affine.mean(0) - mean) ** 2 - noise / len(x)).sum()  # without the sampling error of S draws
        grid, average = slice(GRID * dim), slice(GRID * dim, (GRID + 1) * dim)
        exact = self._summaries[name]
        over_time, rough = slice((GRID + 1) * dim, (GRID + 2) * dim), slice((GRID + 2) * dim, None)
        return {
            "R^2 of mean": float(1 - error / ((mean - overall) ** 2).sum()),
            "variance ratio": float(noise[:, grid].sum() / variance[:, grid].sum()),
            "variance ratio of averages": float(noise[:, average].sum() / variance[:, average].sum()),
            "deviation over time": _ratio(x[..., over_time], exact[..., over_time]),
            "its variance ratio": _ratio(x[..., over_time].var(0), exact[..., over_time].var(0)),
            "roughness": _ratio(x[..., rough], exact[..., rough]),
            "roughness' variance ratio": _ratio(x[..., rough].var(0), exact[..., rough].var(0)),
            "coverage of 50 %": _coverage(affine, exact[..., : mean.shape[-1]], 0.5),
            "coverage of 90 %": _coverage(affine, exact[..., : mean.shape[-1]], 0.9),
        }

    def correlations(self, name: str, summaries: Mapping[str, Array]) -> Numbers:
        """Correlations of draws with what is available, each along the pair of directions in which exact draws covary most."""
        average = self._average(name, summaries)
        return {k: _correlation(average, self.available[k], pair) for k, pair in self._pairs[name].items()}

    def _correlation_error(self, name: str, summaries: Mapping[str, Array]) -> float:
        exact, drawn = self.correlations(name, self._summaries), self.correlations(name, summaries)
        return max((abs(drawn[k] - exact[k]) for k in exact), default=float("nan"))

    def _joint_correlation_error(self, summaries: Mapping[str, Array]) -> float:
        """The same between the first two missing modalities, draw by draw, about the mean of each clip's draws."""
        assert self._joint_pair is not None
        correlations = []
        for source in (self._summaries, summaries):
            x, y = (self._average(name, source) for name in self.names[:2])
            correlations.append(_correlation(x - x.mean(0), y - y.mean(0), self._joint_pair))
        return abs(correlations[1] - correlations[0])

    def length_distance(self, name: str, lengths: NDArray[np.int64]) -> float:
        """Total variation distance between drawn lengths (S, R) and their distribution."""
        low, high = self.exact[name].lengths
        shares = np.bincount(lengths.ravel(), minlength=high + 1) / lengths.size
        expected = np.zeros(len(shares))
        expected[low : high + 1] = 1 / (high + 1 - low)
        return float(abs(shares - expected).sum() / 2)

    def shares(self, name: str, draws: FeatureDraws) -> Array:
        """The mean probability (R, C) of each component given a clip's draws of one modality alone."""
        sequences = draws.sequences()
        mask = np.ones((len(sequences), 1), dtype=bool)
        alone = self.prior.given(raw_evidence((self.exact[name],), {name: sequences}, mask))
        return np.asarray(alone.weights.reshape(*draws.lengths.shape, -1).mean(0))

    def _modes(self, name: str, x: Array, draws: FeatureDraws) -> Numbers:
        """Shares of components, and the distance of averages over time in the directions that tell components apart."""
        exact, shares = self._shares[name], self.shares(name, draws)
        likely = exact > LIKELY
        offsets = self.exact[name].offsets
        _, size, directions = np.linalg.svd(offsets - offsets.mean(0), full_matrices=False)
        apart = directions[size > 1e-9 * size.max()].T
        unit = self.unit[name][GRID * len(apart) : (GRID + 1) * len(apart), None]
        ours, theirs = (self._average(name, {name: y}) @ (unit * apart) for y in (x, self._summaries[name]))
        scale = (theirs - theirs.mean((0, 1))).std()
        return {
            "share error": float(abs((shares - exact).mean(0)).max()),
            "share error by clip": float(abs(shares - exact).max(1).mean()),
            "modes drawn": float((shares > exact / 4)[likely].mean()),
            "energy between modes": energy_distance(ours / scale, theirs / scale, unbiased=True),
        }


def _ratio(x: Array, exact: Array) -> float:
    """The ratio of means; 1 where both are 0, as for deviations over time of single vectors."""
    return 1.0 if not exact.any() and not x.any() else float(x.mean() / exact.mean())


def _coverage(x: Array, exact: Array, level: float) -> float:
    """The share of exact draws inside the central interval of draws x (S, R, F); `level` in expectation if both are alike."""
    low, high = np.quantile(x, [(1 - level) / 2, (1 + level) / 2], axis=0, method="weibull")
    return float(((exact >= low) & (exact <= high)).mean())


def _directions(x: Array, y: Array) -> tuple[Array, Array]:
    """The two directions along which x (S, R, D) and y (R, E) or (S, R, E) covary most."""
    a = x.reshape(-1, x.shape[-1])
    b = np.broadcast_to(y, (*x.shape[:-1], y.shape[-1])).reshape(len(a), -1)
    u, _, vt = np.linalg.svd((a - a.mean(0)).T @ (b - b.mean(0)))
    return u[:, 0], vt[0]


def _correlation(x: Array, y: Array, pair: tuple[Array, Array]) -> float:
    """The correlation along a pair of directions; 0 where one doesn't vary."""
    a = x @ pair[0]
    b = np.broadcast_to(y @ pair[1], a.shape)
    scale = float(a.std() * b.std())
    return float(((a - a.mean()) * (b - b.mean())).mean() / scale) if scale else 0.0
