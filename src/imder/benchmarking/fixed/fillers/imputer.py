"""Draws of the system ``imputer``, trained on all clips of a comparison."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from imder.benchmarking.fixed.fillers.base import FillerLeftOut, Mask
from imder.benchmarking.fixed.fit_settings import FitSettings
from imder.data.corpus import Corpus
from imder.data.dialogues import has_neighbours
from imder.data.split import Split, without
from imder.imputation.impute import impute
from imder.training.run import RunDirectory
from imder.training.train import train as train_system


class ImputerFill:
    """Draws of a system that is trained here, or was trained before in the same folder.

    Args:
        context: read neighbouring clips, where there are any.
        labels: learn the label too, and draw features given a draw of it.
    """

    def __init__(self, *, context: bool = True, labels: bool = True) -> None:
        self._context = context
        self._labels = labels

    def fit(self, train: Split, valid: Split, settings: FitSettings) -> None:
        """Train the preset `imputer`."""
        if not self._context and not has_neighbours(train):
            raise FillerLeftOut("no clip has neighbours, so that it equals the imputer with context")
        splits, spec = {"train": without(train, valid), "valid": valid}, settings.spec
        if not self._labels:
            splits = {name: replace(split, labels=None) for name, split in splits.items()}
            spec = replace(spec, task="none", classes=())
        corpus, run = Corpus("clips", spec, splits), RunDirectory(settings.folder / "run")
        if (run.path / "config.yaml").exists():
            self._model = train_system(corpus, run.path, resume=True)
            return
        changes: dict[str, Any] = {} if self._context else {"model.context.direction": "none"}
        self._model = train_system(
            corpus,
            run.path,
            preset="imputer",
            overrides=changes,
            seed=settings.seed,
            max_epochs=settings.max_epochs,
            logger=False,
        )

    def fill(self, split: Split, available: Mask, draws: int, seed: int) -> Iterator[Split]:
        """Yield the split, once for each draw."""
        yield from impute(self._model, replace(split, labels=None), available=available, draws=draws, seed=seed)
