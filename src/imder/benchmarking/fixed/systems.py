"""Networks as fixed models: systems of this package, trained on complete clips alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from imder.benchmarking.fixed.fit_settings import FitSettings
from imder.benchmarking.fixed.model import Predict
from imder.benchmarking.fixed.trained_systems import values_of
from imder.data.corpus import Corpus, Ragged, Split
from imder.data.split import without
from imder.inference.predict import predict
from imder.models.base import Model
from imder.models.presets import read_preset
from imder.training.config import RunConfig, load_config
from imder.training.run import RunDirectory
from imder.training.train import train as train_system
from imder.types import Modality, Spec

COMPLETE = {"training.missing_rate": "any", "training.stage1.missing": "none"}
"""Training masks that leave everything available."""
NOTHING = Modality("nothing", 1, 1)
"""A modality that no clip has, beside one that all have: systems need two."""


def fit_mult(
    train: Split, valid: Split, spec: Spec, folder: Path, seed: int = 0, max_epochs: int | None = None
) -> Predict:
    """The multimodal transformer (preset `mult`)."""
    config = load_config("mult", overrides=COMPLETE)
    return _fit(config, train, valid, FitSettings(spec, folder, seed, max_epochs))


def fit_paper(
    train: Split, valid: Split, spec: Spec, folder: Path, seed: int = 0, max_epochs: int | None = None
) -> Predict:
    """The encoders, the fusion and the training of IMDer's first stage, as published (preset `paper-mosi`)."""
    paper = read_preset("paper-mosi")
    model = {"encoder": paper["model"]["encoder"], "fusion": dict(paper["model"]["fusion"])}
    model["fusion"]["readout_order"] = [name for name in model["fusion"]["readout_order"] if name in spec.names]
    training = {"missing_rate": "any", "stage1": paper["training"]["stage1"]}
    config = RunConfig.from_dict({"system": "mult", "preset": "mult", "model": model, "training": training})
    return _fit(config, train, valid, FitSettings(spec, folder, seed, max_epochs))


def _fit(config: RunConfig, train: Split, valid: Split, settings: FitSettings) -> Predict:
    """Train on complete clips in the folder, or load what was trained there."""
    run = RunDirectory(settings.folder / "run")
    config = replace(config, training=replace(config.training, seed=settings.seed))
    if settings.max_epochs is not None:
        config = config.with_max_epochs(settings.max_epochs)
    corpus = _corpus(without(train, valid), valid, settings.spec)
    if run.finished() or (run.path / "config.yaml").exists():
        model = train_system(corpus, run.path, resume=True)
    else:
        model = train_system(corpus, run.path, config=config, logger=False)
    return partial(_predict, model, settings.spec)


def _predict(model: Model, spec: Spec, split: Split) -> Any:
    return values_of(predict(model, _with_nothing(split, spec)), spec)


def _corpus(train: Split, valid: Split, spec: Spec) -> Corpus:
    modalities = spec.modalities if len(spec.modalities) > 1 else (*spec.modalities, NOTHING)
    splits = {"train": _with_nothing(train, spec), "valid": _with_nothing(valid, spec)}
    return Corpus("complete clips", replace(spec, modalities=modalities), splits)


def _with_nothing(split: Split, spec: Spec) -> Split:
    """The split, with `NOTHING` beside a single modality."""
    if len(spec.modalities) > 1:
        return split
    empty = Ragged(np.zeros((0, NOTHING.dim), np.float32), np.zeros(len(split) + 1, np.int64))
    return replace(split, features={**split.features, NOTHING.name: empty})
