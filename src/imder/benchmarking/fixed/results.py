"""Metrics of a comparison of fillers in every bootstrap resample of its test clips.

Predictions of a filler are averaged over its first draws (class probabilities, or values). The test clips of all rotations
are evaluated together, and metrics are averaged over seeds.

For regression the predictive distribution, which CRPS scores, is that of a draw's prediction plus a residual of the model
on complete validation clips: p(y | x_A) = E[p(y | x_A, x_M)] over draws of x_M. A filler without draws has the residuals
alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder import metrics
from imder.benchmarking.bootstrap import Array, cluster_weights
from imder.benchmarking.fixed.experiment import missing_cells
from imder.benchmarking.fixed.fillers import FILLERS
from imder.benchmarking.fixed.folder import PREDICTIONS, Cell, FixedFolder
from imder.benchmarking.fixed.plan import (
    CEILING,
    COMPLETE,
    FixedPlan,
    Rotation,
    complete_labelled,
    incomplete_patterns,
)
from imder.benchmarking.fixed.trained_systems import SYSTEM
from imder.benchmarking.resampled import FEW, clusters_of
from imder.calibration.scores import crps
from imder.data.corpus import Corpus, Split
from imder.types import ImderError

SEED = 0
RESIDUALS = 50
"""Points that stand for a model's residuals in a predictive distribution."""
CRPS = "crps"


@dataclass(frozen=True)
class System:
    """A line of the tables: a filler with a number of draws, complete clips, or the ceiling."""

    filler: str
    draws: int | None = None

    @property
    def label(self) -> str:
        """Its name in tables."""
        if self.draws is None:
            return self.filler
        return f"{self.filler}, {self.draws} draw{'s' * (self.draws != 1)}"


@dataclass(frozen=True)
class TestClips:
    """The scored clips of all rotations, one rotation after the other.

    Attributes:
        labels: ``(N,)``.
        clusters: ``(N,)`` names of what the bootstrap resamples.
        what: what these are: ``speakers``, ``dialogues`` or ``samples``.
        parts: for each fold the ids of its clips.
    """

    labels: NDArray[Any]
    clusters: list[str]
    what: str
    parts: dict[int | None, tuple[str, ...]]

    def resampling(self, resamples: int) -> str:
        """What the bootstrap resamples, in words."""
        count = len(set(self.clusters))
        words = f"{resamples} resamples of {count} {self.what}"
        return words + (f"; so few {self.what} make intervals too narrow" if count < FEW else "")


def scored_clips(corpus: Corpus, plan: FixedPlan) -> TestClips:
    """The test clips that hold every modality and a label."""
    settings = plan.settings
    by_speaker = settings.by_speaker(corpus)
    labels: list[NDArray[Any]] = []
    clusters: list[str] = []
    parts: dict[int | None, tuple[str, ...]] = {}
    what = "samples"
    for fold in dict.fromkeys(rotation.fold for rotation in plan.rotations()):
        test: Split = settings.corpus_of(corpus, Rotation(0, fold))["test"]
        test = test.take(complete_labelled(test))
        if by_speaker and test.speaker is not None:
            names, what = list(test.speaker), "speakers"
        else:
            names, what = clusters_of(test)
        labels.append(np.asarray(test.labels))
        clusters += names
        parts[fold] = test.ids
    return TestClips(np.concatenate(labels), clusters, what, parts)


@dataclass(frozen=True)
class Measured:
    """Metrics of every system in every resample.

    Attributes:
        values: for each fixed model, system and pattern its metrics, ``(1 + resamples,)`` each; the first is that of the
            clips themselves.
        seeds: for each fixed model and system the number of seeds that have every rotation.
        reasons: for each cell without predictions, why.
        failed: those of them that an error stopped.
        seconds: for each filler and model the seconds of a rotation, on average.
    """

    values: dict[tuple[str, System, str], dict[str, Array]]
    seeds: dict[tuple[str, System], int]
    reasons: dict[str, str]
    failed: dict[str, str]
    seconds: dict[tuple[str, str], float]


def measure(folder: FixedFolder, corpus: Corpus, plan: FixedPlan, clips: TestClips, resamples: int) -> Measured:
    """Evaluate the finished cells of a comparison."""
    weights = cluster_weights(clips.clusters, resamples, SEED)
    measured = Measured({}, {}, *_reasons(folder, plan), _seconds(folder, plan))
    patterns = list(incomplete_patterns(corpus.spec))
    for model in plan.models:
        for filler in (COMPLETE, *plan.fillers, CEILING, *plan.systems):
            for system in _systems(plan, filler):
                owner = SYSTEM if filler in plan.systems else model
                found = (_arrays(folder, plan, owner, system, seed, clips) for seed in range(plan.seeds))
                by_seed = [arrays for arrays in found if arrays is not None]
                if not by_seed:
                    continue
                measured.seeds[model, system] = len(by_seed)
                for p, pattern in enumerate(patterns):
                    every = [
                        _metrics(plan, arrays, 0 if filler == COMPLETE else p, clips, weights) for arrays in by_seed
                    ]
                    measured.values[model, system, pattern] = {
                        name: np.mean([each[name] for each in every], axis=0) for name in every[0]
                    }
    return measured


def _systems(plan: FixedPlan, filler: str) -> list[System]:
    if filler in FILLERS and FILLERS[filler].draws:
        return [System(filler, draws) for draws in plan.draws]
    return [System(filler)]


@dataclass(frozen=True)
class _Predicted:
    """Predictions (patterns, draws, N) or (patterns, draws, N, C) of all rotations, and residuals (patterns, N, R)."""

    predictions: Array
    residuals: Array | None


def _arrays(
    folder: FixedFolder, plan: FixedPlan, model: str, system: System, seed: int, clips: TestClips
) -> _Predicted | None:
    """The cells of one seed; None unless all rotations have the draws."""
    predictions, residuals = [], []
    draws, spec = system.draws or 1, FILLERS.get(system.filler)
    for fold, ids in clips.parts.items():
        cell, complete = (Cell(model, name, Rotation(seed, fold)) for name in (system.filler, COMPLETE))
        have = folder.fillings(cell)
        usable = [count for count in have if count == draws or (spec is not None and spec.nested and count > draws)]
        if not usable:
            return None
        arrays = folder.arrays(cell)
        if tuple(arrays["ids"].tolist()) != ids:
            raise ImderError(f"{folder.path}: predictions of {cell.name} are of other clips than the corpus has now")
        drawn = arrays[f"{PREDICTIONS}{usable[-1]}"].astype(np.float64)[:, :draws]
        predictions.append(drawn)
        spread = (arrays if "residuals" in arrays else folder.arrays(complete))["residuals"].astype(np.float64)
        if spread.shape[1]:
            points = np.quantile(spread, (np.arange(RESIDUALS) + 0.5) / RESIDUALS, axis=1).T  # (patterns or 1, R)
            points = np.broadcast_to(points, (len(drawn), RESIDUALS))
            residuals.append(np.repeat(points[:, None], len(ids), axis=1))
    return _Predicted(np.concatenate(predictions, axis=2), np.concatenate(residuals, axis=1) if residuals else None)


def _metrics(plan: FixedPlan, arrays: _Predicted, pattern: int, clips: TestClips, weights: Array) -> dict[str, Array]:
    """Metrics ``(B,)`` of predictions averaged over draws."""
    convention = plan.settings.convention
    drawn = arrays.predictions[pattern]
    names = metrics.names_of(convention)
    every = metrics.evaluate_resamples(convention, drawn.mean(0)[None], clips.labels, weights, names)
    out = {name: values[:, 0] for name, values in every.items()}
    if arrays.residuals is not None:
        points = (drawn[:, :, None] + arrays.residuals[pattern]).transpose(1, 0, 2).reshape(len(clips.labels), -1)
        scores = crps(points, clips.labels.astype(np.float64))
        out[CRPS] = (weights @ scores) / weights.sum(1)
    return out


def _reasons(folder: FixedFolder, plan: FixedPlan) -> tuple[dict[str, str], dict[str, str]]:
    """For each cell without predictions, why; and those that an error stopped."""
    reasons, failed = {}, {}
    for rotation in plan.rotations():
        for cell in missing_cells(folder, plan, rotation):
            about = folder.about(cell)
            reasons[cell.name] = about.get("reason", "not run yet")
            if about.get("left_out") is False:
                failed[cell.name] = about["reason"]
    return reasons, failed


def _seconds(folder: FixedFolder, plan: FixedPlan) -> dict[tuple[str, str], float]:
    seconds: dict[tuple[str, str], list[float]] = {}
    for rotation in plan.rotations():
        for filler in (COMPLETE, CEILING, *plan.fillers):
            for model in plan.models:
                about = folder.about(Cell(model, filler, rotation))
                if "seconds" in about:
                    seconds.setdefault((model, filler), []).append(float(about["seconds"]))
        for name in plan.systems:
            about = folder.about(Cell(SYSTEM, name, rotation))
            if "seconds" in about:
                for model in plan.models:
                    seconds.setdefault((model, name), []).append(float(about["seconds"]))
    return {key: float(np.mean(values)) for key, values in seconds.items()}
