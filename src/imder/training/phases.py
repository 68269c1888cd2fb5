"""Running the phases of a training, one after the other, each from where an earlier process left it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import Logger
from safetensors import safe_open

from imder.data.corpus import Corpus
from imder.data.loader import MaskedLoader
from imder.models.base import Model, Phase
from imder.models.io import load_weights
from imder.training.callbacks import BestWeights
from imder.training.checkpoint import Checkpoint, Restored, restoring
from imder.training.config import EngineConfig, RunConfig
from imder.training.engine import device_of, interruptible, is_main_process, quiet, trainer_of
from imder.training.language import RunLanguage
from imder.training.loggers import DEFAULT_LOGGERS, phase_loggers
from imder.training.masks import natural_loader, validation_loader
from imder.training.module import VALIDATION_SEED, PhaseModule
from imder.training.run import RunDirectory
from imder.training.stage1 import STAGE1, adopt_stage1
from imder.types import Batch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchesOn:
    """Batches of a loader, moved to a device; can be iterated again."""

    batches: Iterable[Batch]
    device: torch.device

    def __iter__(self) -> Iterator[Batch]:
        """Each batch on the device."""
        return (batch.to(self.device) for batch in self.batches)


@dataclass(frozen=True)
class TrainingJob:
    """What all phases of a training share.

    Attributes:
        run: the run directory.
        settings: the run's configuration.
        corpus: as the phases read it: token ids in place of language features where an encoder learns.
        engine: devices and precision.
        language: the run's language encoder, if it has one.
        stage1: the run whose stage 1 is taken over, if any.
        loggers: names and objects (`imder.training.loggers`).
        callbacks: of the caller.
    """

    run: RunDirectory
    settings: RunConfig
    corpus: Corpus
    engine: EngineConfig
    language: RunLanguage | None = None
    stage1: RunDirectory | None = None
    loggers: Sequence[Logger | str] = DEFAULT_LOGGERS
    callbacks: Sequence[L.Callback] = field(default_factory=tuple)


def run_phases(model: Model, job: TrainingJob) -> dict[Phase, dict[str, Any]]:
    """Go through the phases of a configuration; returns what each reached: validation loss, epochs, seconds."""
    reached = {}
    for phase in model.phases(job.settings.model):
        learner, corpus = model, job.corpus
        if job.language is not None:
            learner, corpus = job.language.learner(model, phase), job.language.corpus(phase)
        reached[phase] = _run_phase(learner, phase, corpus, job)
    return reached


def _run_phase(model: Model, phase: Phase, corpus: Corpus, job: TrainingJob) -> dict[str, Any]:
    """One phase: loaded if it is finished, taken over if it is stage 1 and another run gives it, else trained."""
    run = job.run
    path = run.weights(phase)
    if path.exists():
        load_weights(model, path)
        run.drop_checkpoint(phase)
        with safe_open(path, "pt") as file:
            return {k: json.loads(v) for k, v in (file.metadata() or {}).items()}
    started = time.monotonic()
    if phase == STAGE1 and job.stage1 is not None:
        adopt_stage1(model, job.stage1)
        reached: dict[str, Any] = {"from": str(job.stage1.path)}
    else:
        reached = _train_phase(model, phase, corpus, job)
    model.requires_grad_(True)
    reached["seconds"] = round(reached.get("seconds", 0.0) + time.monotonic() - started, 1)
    if is_main_process(job.engine):
        path.parent.mkdir(exist_ok=True)
        model.save_phase(path, {k: json.dumps(v) for k, v in reached.items()})
        run.drop_checkpoint(phase)
    log.info("%s: %s", phase, reached)
    return reached


def _train_phase(model: Model, phase: Phase, corpus: Corpus, job: TrainingJob) -> dict[str, Any]:
    """Train a phase, by gradient on the engine's device if its modules have parameters, otherwise on the CPU."""
    training, train, valid = job.settings.training, corpus["train"], corpus["valid"]
    by_gradient = any(True for part in model.trainable_modules(phase) for _ in part.parameters())
    device = device_of(job.engine) if by_gradient else torch.device("cpu")
    model.to(device)
    everything = BatchesOn(natural_loader(train, training, context=model.needs_dialogues(train)), device)
    model.on_phase_start(phase, everything, training.seed, permanently_missing=training.permanently_missing)
    labelled = phase not in model.label_free
    validation = validation_loader(
        valid,
        training.phase(model.settings_of(phase)),
        training,
        all_patterns=labelled,
        context=model.needs_dialogues(valid),
    )
    if by_gradient:
        reached = _fit(model, phase, corpus, job, validation)
        model.to(device)  # Lightning leaves it on the CPU
        model.on_phase_end(phase, BatchesOn(validation, device), VALIDATION_SEED)
        return reached
    model.on_phase_end(phase, BatchesOn(validation, device), VALIDATION_SEED)
    return {"valid": _task_loss(model, phase, BatchesOn(validation, device))}


def _fit(model: Model, phase: Phase, corpus: Corpus, job: TrainingJob, validation: MaskedLoader) -> dict[str, Any]:
    """Train a phase by gradient and load its best weights."""
    training, run, engine = job.settings.training, job.run, job.engine
    config = training.phase(model.settings_of(phase))
    module = PhaseModule(model, phase, config, training, corpus["train"], validation)
    best_weights = BestWeights(config.ema, config.patience)
    path = run.checkpoint(phase)
    checkpoint = Checkpoint(path, engine.checkpoint_seconds, lambda: run.key(phase))
    restored, earlier = Restored(), path if path.exists() else None
    with quiet(), phase_loggers(job.loggers, run, phase) as loggers:
        trainer = trainer_of(run, config, engine, loggers, [restored, *job.callbacks, best_weights, checkpoint])
        with interruptible(trainer), restoring(earlier, restored):
            trainer.fit(module, ckpt_path=earlier, weights_only=True)
    model.load_state_dict(best_weights.best_state)
    reached = {"valid": best_weights.best, "best_epoch": best_weights.best_epoch, "epochs": trainer.current_epoch}
    return reached | {"seconds": checkpoint.earlier}


def _task_loss(model: Model, phase: Phase, validation: Iterable[Batch]) -> float:
    """The mean task loss on validation pairs of a phase that wasn't trained by gradient."""
    losses = [model.losses(batch, phase, VALIDATION_SEED)["task"] for batch in validation]
    return float(sum(float(x.total) for x in losses) / max(1.0, sum(x.count for x in losses)))
