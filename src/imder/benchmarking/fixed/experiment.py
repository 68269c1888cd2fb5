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
from imder.benchmarking.fixed.fillers import FILLERS, FillerSpec
from imder.benchmarking.fixed.fillers.base import Filler, FillerLeftOut
from imder.benchmarking.fixed.fit_settings import FitSettings
from imder.benchmarking.fixed.folder import PREDICTIONS, Cell, FixedFolder
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
from imder.benchmarking.fixed.trained_systems import SYSTEM, pattern_predictions, trained_system
from imder.data.corpus import Corpus, Split
from imder.data.dialogues import dialogue_numbers, has_neighbours
from imder.jobs.threads import limited_threads
from imder.types import ImderError, Spec

TOLERANCE = 1e-3
"""Predictions of a model that is fitted again may differ by this much."""
CHUNK, LEAST_CHUNK = 8192, 64
"""Clips that are filled in at a time, times draws; and the fewest clips."""
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
                RotationRun(folder, plan, rotation, plan.settings.corpus_of(source.load(quiet=True), rotation)).run()
    finally:
        lock.release()
    return True


def missing_cells(folder: FixedFolder, plan: FixedPlan, rotation: Rotation) -> list[Cell]:
    """The cells of a rotation that lack predictions, in the order in which they are made."""
    names = (COMPLETE, CEILING, *plan.fillers)
    cells = [Cell(model, filler, rotation) for filler in names for model in plan.models]
    cells += [Cell(SYSTEM, name, rotation) for name in plan.systems]
    return [cell for cell in cells if missing_fillings(folder, plan, cell)]


def missing_fillings(folder: FixedFolder, plan: FixedPlan, cell: Cell) -> list[int]:
    """The numbers of draws that a cell lacks."""
    have = folder.fillings(cell)
    spec = FILLERS.get(cell.filler)
    if spec is None or not spec.draws:
        return [] if have else [1]
    if spec.nested:
        return [] if have and max(have) >= max(plan.draws) else [max(plan.draws)]
    return [count for count in plan.draws if count not in have]


def _chunks(split: Split, size: int) -> list[NDArray[np.int64]]:
    """Rows of whole dialogues together, in chunks of about ``size`` clips."""
    dialogue = dialogue_numbers(split)
    order = np.argsort(dialogue, kind="stable")
    _, counts = np.unique(dialogue, return_counts=True)
    chunk_of = (np.cumsum(counts) - counts) // size
    return np.split(order, np.flatnonzero(np.diff(np.repeat(chunk_of, counts))) + 1)


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
        models = dict.fromkeys(cell.model for cell in todo if cell.model != SYSTEM)
        fitted = {name: self._fit(name) for name in models}
        for cell in todo:
            if cell.filler == CEILING:
                self._guarded([cell], lambda cell=cell: self._ceiling(cell))
        for filler in self.plan.fillers:
            cells = [cell for cell in todo if cell.filler == filler and cell.model != SYSTEM]
            if cells:
                self._guarded(cells, lambda filler=filler, cells=cells: self._fill(filler, cells, fitted))

        for cell in todo:
            if cell.model == SYSTEM:
                self._guarded([cell], lambda cell=cell: self._system(cell))

    def _system(self, cell: Cell) -> None:
        """Predictions of a system that is trained for missing modalities."""
        begun, outage, seed = time.monotonic(), self.plan.settings.outage, self.rotation.seed
        model = trained_system(cell.filler, self.corpus, self._settings("systems", cell.filler, self.spec))
        predictions = pattern_predictions(model, self.corpus["test"], self.patterns, outage, seed)
        residuals = np.zeros((len(self.patterns), 0))
        if self.spec.task == "regression":
            valid = self.corpus["valid"]
            labels = np.asarray(valid.labels, dtype=np.float64)[self.rows["valid"]]
            residuals = labels - pattern_predictions(model, valid, self.patterns, outage, seed)
        self._save(cell, predictions[:, None], list(self.patterns), residuals, self._about(begun))

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
        if self.folder.fillings(cell):
            before = self.folder.arrays(cell)[f"{PREDICTIONS}1"][0, 0]
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
        begun, spec = time.monotonic(), FILLERS[filler]
        instance = spec.make()
        instance.fit(self.corpus["train"], self.corpus["valid"], self._settings("fillers", filler, self.spec))
        fit_seconds = round(time.monotonic() - begun, 2)
        wanted = sorted({count for cell in cells for count in missing_fillings(self.folder, self.plan, cell)})
        models = [fitted[cell.model] for cell in cells]
        for draws in wanted:
            begun = time.monotonic()
            predictions = self._predictions(spec, instance, draws, models)
            about = self._about(begun) | {"fit_seconds": fit_seconds, "draws": draws}
            for cell, values in zip(cells, predictions, strict=True):
                self._save(cell, values, list(self.patterns), None, about)

    def _predictions(self, spec: FillerSpec, filler: Filler, draws: int, models: list[FittedModel]) -> list[Array]:
        """For each model its predictions (patterns, draws, N) or (patterns, draws, N, C) of the scored clips."""
        test, scored = self.corpus["test"], self.rows["test"]
        if not spec.neighbours or not has_neighbours(test):
            test, scored = test.take(scored), np.arange(len(scored))
        place = np.full(len(test), -1)
        place[scored] = np.arange(len(scored))
        shape = (len(self.patterns), draws, len(scored), *([len(self.spec.classes)] if self.spec.classes else []))
        predictions = [np.full(shape, np.nan) for _ in models]
        chunks = _chunks(test, max(LEAST_CHUNK, CHUNK // draws)) if spec.chunked else [np.arange(len(test))]
        for p, pattern in enumerate(self.patterns.values()):
            for available, dropped in outages(test.present, pattern, self.plan.settings.outage, self.rotation.seed):
                for chunk in chunks:
                    mine = np.flatnonzero(dropped[chunk] & (place[chunk] >= 0))
                    if not len(mine):
                        continue
                    splits = filler.fill(test.take(chunk), available[chunk], draws, self.rotation.seed)
                    for draw, split in zip(range(draws), splits, strict=True):
                        part = split.take(mine)
                        if not part.present.all():
                            raise ImderError("a modality is still missing after filling in")
                        for model, values in zip(models, predictions, strict=True):
                            values[p, draw, place[chunk[mine]]] = model.predict(part)
        return predictions

    def _save(
        self, cell: Cell, predictions: Array, patterns: list[str], residuals: Array | None, about: dict[str, Any]
    ) -> None:
        ids = np.array(self.corpus["test"].take(self.rows["test"]).ids)
        arrays: dict[str, NDArray[Any]] = {
            f"{PREDICTIONS}{predictions.shape[1]}": predictions.astype(np.float32),
            "patterns": np.array(patterns),
            "ids": ids,
        }
        if residuals is not None:
            arrays["residuals"] = residuals.astype(np.float32)
        self.folder.save(cell, arrays, about)

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
