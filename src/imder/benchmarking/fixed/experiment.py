"""One rotation of a comparison: fit the fixed models, fill in each pattern of missing modalities, and predict.

A filler is fitted once for all models, and each of its draws is predicted by all of them. Everything is kept in the folder
cell by cell, so that a further filler costs its own time and a fit of the models.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.benchmarking.cell import Source
from imder.benchmarking.fixed.builtin import MODELS
from imder.benchmarking.fixed.fillers import FILLERS
from imder.benchmarking.fixed.fillers.base import FillerLeftOut
from imder.benchmarking.fixed.fit_settings import FitSettings
from imder.benchmarking.fixed.folder import Cell, FixedFolder
from imder.benchmarking.fixed.model import FittedModel, fixed_model
from imder.benchmarking.fixed.plan import (
    CEILING,
    COMPLETE,
    FixedPlan,
    Rotation,
    complete_labelled,
    incomplete_patterns,
    outages,
    restricted,
    restricted_spec,
)
from imder.data.corpus import Corpus, Split
from imder.jobs.threads import limited_threads
from imder.types import ImderError, Spec

TOLERANCE = 1e-3
"""Predictions of a model that is fitted again may differ by this much."""
Array = NDArray[np.float64]


def run_rotation(path: Path, source: Source, plan: FixedPlan, rotation: Rotation, threads: int) -> bool:
    """Run what a rotation lacks. Errors of single fillers and ceilings are written to the folder, not raised.

    Args:
        path: the folder.
        source: the corpus.
        plan: the whole plan.
        rotation: which part of it.
        threads: of this process, for torch.

    Returns:
        Whether the rotation was free; False where another process works on it.

    Raises:
        ImderError: there are no complete labelled clips, or a fixed model can't be fitted.
    """
    folder = FixedFolder(path)
    lock = folder.lock(rotation)
    if not lock.acquire():
        return False
    try:
        with lock.heartbeat(), limited_threads(threads):
            if missing_cells(folder, plan, rotation):
                RotationRun(folder, plan, rotation, plan.settings.corpus_of(source.load(), rotation)).run()
    finally:
        lock.release()
    return True


def missing_cells(folder: FixedFolder, plan: FixedPlan, rotation: Rotation) -> list[Cell]:
    """The cells of a rotation that have no predictions yet, in the order in which they are made."""
    names = (COMPLETE, CEILING, *plan.fillers)
    cells = [Cell(model, filler, rotation) for filler in names for model in plan.models]
    return [cell for cell in cells if not folder.finished(cell, draws_of(plan, cell.filler))]


def draws_of(plan: FixedPlan, filler: str) -> int:
    """The number of fillings that a cell needs."""
    return max(plan.draws) if filler in FILLERS and FILLERS[filler].draws else 1


class RotationRun:
    """The work on one rotation.

    Args:
        folder: where predictions are kept.
        plan: the whole plan.
        rotation: which part of it.
        corpus: its splits train, valid and test.
    """

    def __init__(self, folder: FixedFolder, plan: FixedPlan, rotation: Rotation, corpus: Corpus) -> None:
        self.folder, self.plan, self.rotation, self.corpus = folder, plan, rotation, corpus
        self.spec = corpus.spec
        self.rows = {name: complete_labelled(corpus[name]) for name in ("train", "valid", "test")}
        for name, rows in self.rows.items():
            if not len(rows):
                raise ImderError(
                    f"{corpus.name} [{name}]: no labelled clip holds all of {', '.join(self.spec.names)}; "
                    "a fixed model needs complete clips"
                )
        self.patterns = incomplete_patterns(self.spec)
        self.models = {name: fixed_model(source, MODELS) for name, source in plan.sources.items()}

    def run(self) -> None:
        """Make the cells that are missing."""
        todo = missing_cells(self.folder, self.plan, self.rotation)
        fitted = {name: self._fit(name) for name in dict.fromkeys(cell.model for cell in todo)}
        for cell in todo:
            if cell.filler == CEILING:
                self._guarded([cell], lambda cell=cell: self._ceiling(cell))
        for filler in self.plan.fillers:
            cells = [cell for cell in todo if cell.filler == filler]
            if cells:
                self._guarded(cells, lambda filler=filler, cells=cells: self._fill(filler, cells, fitted))

    def _guarded(self, cells: list[Cell], work: Any) -> None:
        """Run ``work``; an error becomes the reason why ``cells`` have no predictions."""
        try:
            work()
        except FillerLeftOut as error:
            for cell in cells:
                self.folder.fail(cell, str(error), left_out=True)
        except Exception as error:
            reason = str(error) if isinstance(error, ImderError) else f"{type(error).__name__}: {error}"
            for cell in cells:
                self.folder.fail(cell, " ".join(reason.split()), left_out=False)

    def _fit(self, name: str) -> FittedModel:
        """Fit a model on complete clips, and keep its predictions of complete test clips.

        Raises:
            ImderError: it was fitted before and predicts otherwise now.
        """
        cell, begun = Cell(name, COMPLETE, self.rotation), time.monotonic()
        train, valid, test = (self.corpus[split].take(rows) for split, rows in self.rows.items())
        fitted = self.models[name].fitted(train, valid, self._settings("models", name, self.spec))
        predictions = fitted.predict(test)
        if self.folder.finished(cell, 1):
            before = self.folder.arrays(cell)["predictions"][0, 0]
            if before.shape != predictions.shape or np.abs(before - predictions).max() > TOLERANCE:
                raise ImderError(
                    f"fixed model {name}: fit gives another model than before; fix its seed, or keep what it has "
                    "trained in the folder that fit(train, valid, folder) is given"
                )
        else:
            about = self._about(begun) | {"train": len(train), "valid": len(valid)}
            residuals = self._residuals(fitted, valid)
            self._save(cell, predictions[None, None], [self._all()], residuals[None], about)
        return fitted

    def _ceiling(self, cell: Cell) -> None:
        """A model of each subset of the modalities."""
        begun, predictions, residuals = time.monotonic(), [], []
        for number, pattern in enumerate(self.patterns.values()):
            names = [name for name, chosen in zip(self.spec.names, pattern, strict=True) if chosen]
            train, valid = restricted(self.corpus["train"], names), restricted(self.corpus["valid"], names)
            settings = self._settings("models", f"{cell.model}-{CEILING}{number}", restricted_spec(self.spec, names))
            fitted = self.models[cell.model].fitted(train, valid, settings)
            predictions.append(fitted.predict(restricted(self.corpus["test"].take(self.rows["test"]), names))[None])
            residuals.append(self._residuals(fitted, valid))
        shortest = min(map(len, residuals))  # subsets have different numbers of validation clips
        spread = [np.quantile(r, (np.arange(shortest) + 0.5) / shortest) if shortest else r for r in residuals]
        self._save(cell, np.stack(predictions), list(self.patterns), np.stack(spread), self._about(begun))

    def _fill(self, filler: str, cells: list[Cell], fitted: dict[str, FittedModel]) -> None:
        """Predictions of several models for one filler."""
        draws, begun = draws_of(self.plan, filler), time.monotonic()
        instance = FILLERS[filler].make()
        test, scored = self.corpus["test"], self.rows["test"]
        instance.fit(self.corpus["train"], self.corpus["valid"], self._settings("fillers", filler, self.spec))
        fit_seconds = time.monotonic() - begun
        width = (len(self.spec.classes),) if self.spec.task == "classification" else ()
        shape = (len(self.patterns), draws, len(scored), *width)
        predictions = {cell.model: np.full(shape, np.nan) for cell in cells}
        for p, pattern in enumerate(self.patterns.values()):
            for available, dropped in outages(test.present, pattern, self.plan.settings.outage, self.rotation.seed):
                mine = np.flatnonzero(dropped[scored])
                count = 0
                for draw, split in enumerate(instance.fill(test, available, draws, self.rotation.seed)):
                    part = split.take(scored[mine])
                    if not part.present.all():
                        raise ImderError(f"filler {filler}: a modality is still missing after filling in")
                    for cell in cells:
                        predictions[cell.model][p, draw, mine] = fitted[cell.model].predict(part)
                    count = draw + 1
                if count != draws:
                    raise ImderError(f"filler {filler}: filled in {count} times, not {draws}")
        about = self._about(begun) | {"fit_seconds": round(fit_seconds, 2)}
        for cell in cells:
            self._save(cell, predictions[cell.model], list(self.patterns), None, about)

    def _save(
        self, cell: Cell, predictions: Array, patterns: list[str], residuals: Array | None, about: dict[str, Any]
    ) -> None:
        ids = np.array(self.corpus["test"].take(self.rows["test"]).ids)
        arrays: dict[str, NDArray[Any]] = {
            "predictions": predictions.astype(np.float32),
            "patterns": np.array(patterns),
            "ids": ids,
        }
        if residuals is not None:
            arrays["residuals"] = residuals.astype(np.float32)
        self.folder.save(cell, arrays, predictions.shape[1], about)

    def _residuals(self, fitted: FittedModel, valid: Split) -> Array:
        """Label minus prediction of complete validation clips, for regression; empty for classes."""
        if self.spec.task == "classification":
            return np.zeros(0)
        return np.asarray(valid.labels, dtype=np.float64) - fitted.predict(valid)

    def _settings(self, what: str, name: str, spec: Spec) -> FitSettings:
        kept = self.folder.kept(what, name, self.rotation).absolute()
        return FitSettings(spec, kept, self.rotation.seed, self.plan.settings.max_epochs)

    def _all(self) -> str:
        return "+".join(self.spec.names)

    def _about(self, begun: float) -> dict[str, Any]:
        """What a cell's file says of its making."""
        clips = {f"{name}_clips": len(self.corpus[name]) for name in ("train", "valid", "test")}
        return {"seconds": round(time.monotonic() - begun, 2)} | clips
