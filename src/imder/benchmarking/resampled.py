"""The metrics of a benchmark's models in every bootstrap resample of its test samples.

In each resample (`imder.benchmarking.bootstrap`) a metric is averaged over the draws of a setting. Differences between systems
(`imder.benchmarking.significance`) and between availabilities (`imder.benchmarking.additions`) come from these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder import metrics
from imder.benchmarking.bootstrap import Array
from imder.benchmarking.ensemble import ensembles
from imder.benchmarking.folder import BenchmarkFolder
from imder.benchmarking.folds import fold_of, rotation_groups
from imder.benchmarking.plan import GridCell, Plan
from imder.data.corpus import Corpus, Split
from imder.evaluation.curve import summaries
from imder.types import ImderError

FEW = 20  # clusters; with fewer, intervals are too narrow
Key = tuple[str, float | None, str]
"""Protocol, rate and fixed subset."""
Resampled = dict[Key, dict[str, Array]]
"""For each setting its metrics, (1 + resamples,)."""


def clusters_of(split: Split) -> tuple[list[str], str]:
    """The groups that the bootstrap resamples, ``(N,)`` names, and their kind: dialogues, else speakers, else samples.

    A sample without a name is a cluster of its own.

    >>> clusters_of(Split(("a", "b", "c"), {}, dialogue=("x", "x", "")))
    (['x', 'x', ' c'], 'dialogues')
    """
    for names, what in ((split.dialogue, "dialogues"), (split.speaker, "speakers")):
        if names is not None and any(names):
            return [name or f" {i}" for name, i in zip(names, split.ids, strict=True)], what
    return list(split.ids), "samples"


def compared_metrics(convention: str) -> tuple[str, ...]:
    """The metrics whose differences are tested: those of comparison, and all that tables show.

    >>> compared_metrics("mosi")
    ('acc2', 'f1', 'acc7', 'mae', 'corr')
    """
    tested = {*metrics.names_of(convention, "table"), *metrics.names_of(convention, "comparison")}
    return tuple(name for name in metrics.names_of(convention) if name in tested)


@dataclass(frozen=True)
class ClusteredTests:
    """The test samples of a benchmark, rotation by rotation.

    Attributes:
        splits: for each rotation (None: there is none) its test split.
        clusters: `clusters_of` all of them.
    """

    splits: dict[int | None, Split]
    clusters: tuple[list[str], str]

    @property
    def labels(self) -> NDArray[Any]:
        """The labels of all rotations, one after the other."""
        return np.concatenate([np.asarray(split.labels) for split in self.splits.values()])

    @property
    def count(self) -> int:
        """The number of clusters."""
        return len(set(self.clusters[0]))

    def resampling(self, resamples: int) -> str:
        """What the bootstrap resamples, in words."""
        what, count = self.clusters[1], self.count
        words = f"{resamples} resamples of {count} {what}"
        if (
            None not in self.splits
        ):  # tables of metrics average over rotations instead: shares agree, correlations needn't
            words += ", the test samples of all rotations together"
        return words + (f"; so few {what} make intervals too narrow" if count < FEW else "")


def clustered_tests(corpus: Corpus, plan: Plan) -> ClusteredTests:
    """The test samples of a plan."""
    folds = range(plan.shared.folds) if plan.shared.folds else [None]
    splits = {f: corpus["test"] if f is None else fold_of(corpus, f, plan.shared.folds)["test"] for f in folds}
    by_speaker = plan.shared.folds > 0 and rotation_groups(corpus) == "speakers"
    named = [clusters_of(replace(split, dialogue=None) if by_speaker else split) for split in splits.values()]
    return ClusteredTests(splits, ([name for part, _ in named for name in part], named[0][1]))


@dataclass(frozen=True)
class ResampledModels:
    """Metrics of every model in every resample.

    Attributes:
        by_seed: for each model and each of its seeds that has every rotation, the metrics of each setting.
        ensembles: the metrics of `imder.benchmarking.ensemble.ensembles`.
        rates: the effective missing rate of each protocol and rate, on average over draws and rotations.
        clusters: number of clusters that are resampled.
        convention: of the metrics.
    """

    by_seed: dict[str, dict[int, Resampled]]
    ensembles: dict[str, Resampled]
    rates: Mapping[tuple[str, float | None], float]
    clusters: int
    convention: str

    def paired(self, mine: Sequence[Resampled], theirs: Sequence[Resampled]) -> tuple[Resampled, Resampled]:
        """Metrics of two systems, averaged over the seeds of each, with averages over the settings that all have."""
        everything = [*mine, *theirs]
        keys = [key for key in everything[0] if all(key in measured for measured in everything)]
        first, second = ([{key: measured[key] for key in keys} for measured in seeds] for seeds in (mine, theirs))
        sims = self.convention == "sims"
        return _averaged(first, self.rates, sims), _averaged(second, self.rates, sims)


def resample_models(
    folder: BenchmarkFolder, plan: Plan, cells: Sequence[GridCell], tests: ClusteredTests, weights: Array
) -> ResampledModels:
    """The metrics of all models under weights ``(B, N)`` of the test samples, averaged over draws.

    Empty where there is one model, which has nothing to be compared with.
    """
    models = [m for m in plan.models if any(c.model == m for c in cells)]
    if len(models) < 2:
        return ResampledModels({}, {}, {}, tests.count, plan.shared.convention)
    by_seed: dict[str, dict[int, Resampled]] = {}
    ensembled: dict[str, Resampled] = {}
    for model in models:
        predicted = predictions_by_seed(folder, plan, [c for c in cells if c.model == model], tests.splits)
        by_seed[model] = {
            seed: resample_metrics(plan.shared.convention, values, tests.labels, weights)
            for seed, values in predicted.items()
        }
        for name, base in ensembles(plan, cells).items():
            if base == model:
                mean = {k: np.mean([values[k] for values in predicted.values()], axis=0) for k in predicted[0]}
                ensembled[name] = resample_metrics(plan.shared.convention, mean, tests.labels, weights)
    return ResampledModels(by_seed, ensembled, _effective(folder, cells), tests.count, plan.shared.convention)


def _effective(folder: BenchmarkFolder, cells: Sequence[GridCell]) -> dict[tuple[str, float | None], float]:
    """The effective missing rate of each protocol and rate, on average over draws and rotations."""
    measured: dict[tuple[str, float | None], list[float]] = {}
    for cell in cells:
        for row in folder.rows(cell):
            measured.setdefault((row["protocol"], row["rate"]), []).append(row["effective_rate"])
    return {key: float(np.mean(values)) for key, values in measured.items()}


def predictions_by_seed(
    folder: BenchmarkFolder, plan: Plan, cells: Sequence[GridCell], tests: dict[int | None, Split]
) -> dict[int, dict[Key, NDArray[Any]]]:
    """For each seed that has every fold: for each setting the predictions (draws, N) or (draws, N, C) of all rotations."""
    out = {}
    for seed in sorted({cell.seed for cell in cells}):
        parts: dict[Key, dict[int | None, NDArray[Any]]] = {}
        for cell in cells:
            if cell.seed == seed:
                for key, values in _settings(folder, plan, cell, tests[cell.fold]).items():
                    parts.setdefault(key, {})[cell.fold] = values
        whole = {k: np.concatenate([p[f] for f in tests], axis=1) for k, p in parts.items() if p.keys() == tests.keys()}
        if whole:
            out[seed] = whole
    return out


def resample_metrics(
    convention: str, predicted: Mapping[Key, NDArray[Any]], labels: NDArray[Any], weights: Array
) -> Resampled:
    """For each setting `compared_metrics` in every resample, averaged over draws.

    Args:
        convention: of the metrics.
        predicted: for each setting (draws, N) values or (draws, N, C) probabilities; nan where a sample isn't served.
        labels: ``(N,)``.
        weights: ``(B, N)``, how often each resample holds each sample.
    """
    columns = np.concatenate(list(predicted.values()))
    every = metrics.evaluate_resamples(convention, columns, labels, weights, compared_metrics(convention))
    ends = np.cumsum([len(values) for values in predicted.values()])[:-1]
    split = {metric: np.split(values, ends, axis=1) for metric, values in every.items()}
    return {k: {m: split[m][i].mean(1) for m in split} for i, k in enumerate(predicted)}


def _settings(folder: BenchmarkFolder, plan: Plan, cell: GridCell, test: Split) -> dict[Key, NDArray[Any]]:
    """A cell's predictions of each setting, (draws, N) or (draws, N, C)."""
    arrays = folder.predictions(cell)
    if tuple(arrays["ids"].tolist()) != test.ids:
        raise ImderError(f"{folder.file(cell, 'npz')}: the predictions are of other samples than the corpus has now")
    out: dict[Key, list[NDArray[Any]]] = {}
    for protocol in plan.protocols:
        about = zip(arrays[f"{protocol}_rate"].tolist(), arrays[f"{protocol}_available"].tolist(), strict=True)
        for (rate, available), values in zip(about, arrays[protocol], strict=True):
            if np.isnan(rate) or rate in plan.rates:
                out.setdefault((protocol, None if np.isnan(rate) else rate, available), []).append(values)
    return {key: np.stack(values) for key, values in out.items()}


def _averaged(seeds: Sequence[Resampled], rates: Mapping[tuple[str, float | None], float], sims: bool) -> Resampled:
    """Over seeds, which have the same settings; then over settings, as `imder.evaluation.results.averages` does."""
    keys = list(seeds[0])
    out = {k: {m: np.mean([s[k][m] for s in seeds], axis=0) for m in seeds[0][k]} for k in keys}
    for protocol in dict.fromkeys(key[0] for key in keys):
        mine = [key for key in keys if key[0] == protocol]
        longest = max(len(key[2].split("+")) if key[2] else 0 for key in mine)
        mine = [key for key in mine if not longest or len(key[2].split("+")) < longest]
        if len(mine) > 1:
            mine = sorted(mine, key=lambda key: key[1] or 0.0)
            effective = [rates[k[0], k[1]] for k in mine]
            for name, weights in summaries(protocol, [k[1] for k in mine], effective, sims=sims).items():
                out[protocol, None, f"{name}, incomplete" if longest else name] = {
                    m: np.tensordot(weights, np.array([out[k][m] for k in mine]), 1) for m in out[mine[0]]
                }
    return out
