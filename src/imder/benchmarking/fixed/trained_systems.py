"""Systems that were trained for missing modalities, as further lines of a comparison: they need no filler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.benchmarking.fixed.fit_settings import FitSettings
from imder.benchmarking.fixed.plan import Outage, complete_labelled, outages
from imder.benchmarking.model_specs import model_specs
from imder.data.corpus import Corpus
from imder.data.split import Split, without
from imder.inference.predict import predict
from imder.models.base import Model
from imder.rows import Rows
from imder.training.run import RunDirectory
from imder.training.train import train as train_system
from imder.types import Spec

SYSTEM = "system"
"""Stands for the fixed model in the cells of systems."""
Array = NDArray[np.float64]


def trained_system(name: str, corpus: Corpus, settings: FitSettings) -> Model:
    """A system by the name that `imder.benchmark` takes, trained on all clips, or as it was trained before in the folder."""
    train, valid = corpus["train"], corpus["valid"]
    part = replace(corpus, splits={"train": without(train, valid), "valid": valid})
    run = RunDirectory(settings.folder / "run")
    if (run.path / "config.yaml").exists():
        return train_system(part, run.path, resume=True)
    (spec,) = model_specs([name], max_epochs=settings.max_epochs)
    config = replace(spec.config, training=replace(spec.config.training, seed=settings.seed))
    return train_system(part, run.path, config=config, logger=False)


def pattern_predictions(
    model: Model, split: Split, patterns: Mapping[str, tuple[bool, ...]], outage: Outage, seed: int
) -> Array:
    """Predictions (patterns, N) or (patterns, N, C) of the split's complete labelled clips under each pattern."""
    scored = complete_labelled(split)
    out = []
    for pattern in patterns.values():
        parts = [
            (
                values_of(predict(model, replace(split, labels=None), available=mask), model.spec)[scored],
                dropped[scored],
            )
            for mask, dropped in outages(split.present, pattern, outage, seed)
        ]
        out.append(np.select([_like(rows, values) for values, rows in parts], [values for values, _ in parts], np.nan))
    return np.stack(out)


def values_of(rows: Rows, spec: Spec) -> Array:
    """Values ``(N,)`` or probabilities ``(N, C)`` from rows of `imder.predict`; nan for clips with nothing available."""
    if spec.task == "regression":
        return np.array(rows["prediction"], dtype=np.float64)
    return np.array([rows[f"p_{name}"] for name in spec.classes], dtype=np.float64).T


def _like(rows: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[np.bool_]:
    return np.broadcast_to(rows.reshape(-1, *[1] * (values.ndim - 1)), values.shape)
