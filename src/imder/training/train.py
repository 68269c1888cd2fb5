"""`train`: a corpus in, a trained model and a run directory out.

Phases follow one another; after each, the model with its best weights is written. A run that was killed goes on from the
last finished phase and, inside a phase, from its checkpoint. Every source of randomness is a function of the seed, the phase
and the epoch, so the result is that of an uninterrupted run.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from safetensors import safe_open
from torch import Tensor

from imder.calibration.calibration import FILE as CALIBRATION
from imder.calibration.calibration import Calibration
from imder.data.compatible import check_recipe
from imder.data.corpus import Corpus, Split, classes_without, constant_baseline
from imder.data.dialogues import dialogue_numbers
from imder.data.formats.load import load_corpus
from imder.data.loader import MaskedLoader
from imder.data.token_ids import as_ids, with_token_ids
from imder.models.base import Model, Phase
from imder.models.io import load_weights
from imder.models.registry import build
from imder.training.calibrate import calibrate
from imder.training.callbacks import BestWeights, Checkpoint
from imder.training.config import EngineConfig, PhaseConfig, RunConfig, TrainingConfig, load_config
from imder.training.engine import (
    check_engine,
    device_of,
    interruptible,
    is_main_process,
    quiet,
    trainer_of,
    wait_for_all,
)
from imder.training.language import RunLanguage, check_stage1
from imder.training.masks import hide_labels, labelled, natural_loader, training_loader, validation_loader
from imder.training.module import VALIDATION_SEED, PhaseModule
from imder.training.run import RunDirectory
from imder.training.validation import natural_metrics
from imder.types import ImderError

log = logging.getLogger(__name__)


def train(
    corpus: Corpus | str | Path,
    out: str | Path,
    *,
    preset: str = "fast",
    config: str | Path | RunConfig | None = None,
    overrides: Mapping[str, Any] | None = None,
    max_epochs: int | None = None,
    stage1: str | Path | None = None,
    resume: bool = False,
    engine: EngineConfig | None = None,
    callbacks: Sequence[L.Callback] = (),
) -> Model:
    """Train a system and leave a run directory (`imder.training.run`).

    Args:
        corpus: with splits train and valid, or its path.
        out: the run directory.
        preset: a name, see `imder.training.config.load_config`.
        config: a YAML file over the preset, or a `RunConfig`, which is taken as it is.
        overrides: single keys over both.
        max_epochs: no phase runs longer.
        stage1: another run of the same configuration, whose stage 1 is used instead of training one.
        resume: go on with the run in ``out``; its own configuration is used.
        engine: devices and precision.
        callbacks: of the engine, such as a progress bar.

    Returns:
        The trained model, in evaluation mode.

    Raises:
        ImderError: a corpus without labels or splits, a bad configuration, a loss that isn't finite, ...
    """
    started, phases_took = time.monotonic(), 0.0
    name = str(corpus) if not isinstance(corpus, Corpus) else corpus.name
    corpus = corpus if isinstance(corpus, Corpus) else load_corpus(corpus)
    engine = engine or EngineConfig()
    run = RunDirectory(out)
    _check(corpus)
    check_engine(engine)
    if resume:
        settings = run.open()
        check_recipe(run.recipe(), corpus, str(run.path))
        stage1 = run.read_json("trained_on.json")["stage1"]
    else:
        settings = config if isinstance(config, RunConfig) else load_config(preset, config, overrides)
        settings = settings if max_epochs is None else settings.with_max_epochs(max_epochs)
        check_stage1(stage1, settings.training.language_encoder, corpus)
    has_encoder = settings.training.language_encoder.name is not None
    corpus = with_token_ids(corpus) if has_encoder else corpus
    if resume:
        path, spec = run.corpus()
        if (as_ids(spec) if has_encoder else spec) != corpus.spec:
            raise ImderError(f"{run.path}: was started on another corpus ({path})")
        if run.finished():
            return Model.from_pretrained(run.path)
    hidden = hide_labels(corpus["train"], settings.training.label_share, settings.training.seed)
    corpus = replace(corpus, splits={**corpus.splits, "train": hidden})
    if unseen := classes_without(hidden, corpus.spec):
        log.warning(
            "no training sample is labelled %s: what was never seen is hardly ever predicted", ", ".join(unseen)
        )
    language = None
    if has_encoder:
        with _reproducible(settings.training.seed):
            language = RunLanguage(settings.training.language_encoder, run, corpus, stage1, device_of(engine))
    with _reproducible(settings.training.seed):
        model = build(settings.system, settings.model, corpus.spec if language is None else language.spec)
        _initialise(model, corpus["train"])
        if not resume:  # after everything that may be refused
            if stage1 is not None:
                _adopt(model, RunDirectory(stage1).weights("stage1"))
            if language is not None:
                language.learner(model, "stage1")
            for phase in type(model).phases(settings.model):
                learn = settings.training.phase(phase)
                training_loader(corpus["train"], learn, settings.training, 0, context=model.uses_context)
            if model.uses_context:
                dialogue_numbers(corpus["valid"])
            baseline = constant_baseline(corpus["train"], corpus.spec)
            if is_main_process(engine):
                run.create(
                    settings,
                    model.spec,
                    corpus=name,
                    baseline=baseline,
                    stage1=str(stage1) if stage1 else None,
                    recipe=corpus.recipe,
                )
        if language is not None and is_main_process(engine):
            language.keep()
        reached = {}
        for phase in type(model).phases(settings.model):
            learner, data = (
                (model, corpus) if language is None else (language.learner(model, phase), language.corpus(phase))
            )
            before = time.monotonic()
            reached[phase] = _phase(learner, phase, data, settings.training, run, engine, callbacks, stage1)
            phases_took += time.monotonic() - before
    model.eval()
    if language is not None:
        corpus, model.language = language.corpus(), language.encoder
    if is_main_process(engine):
        model.calibration = calibrate(model, corpus, settings.training)
        model.save_pretrained(run.path)
        valid = natural_metrics(model, corpus["valid"], settings.training)
        spent = time.monotonic() - started - phases_took + sum(phase["seconds"] for phase in reached.values())
        run.write_json("metrics.json", {"phases": reached, "valid": valid, "seconds": round(spent, 1)})
    wait_for_all()  # what follows on the other processes may read the run
    if not is_main_process(engine) and (run.path / CALIBRATION).exists():
        model.calibration = Calibration.load(run.path / CALIBRATION)
    return model


def _check(corpus: Corpus) -> None:
    for name in ("train", "valid"):
        if name not in corpus.splits:
            raise ImderError(
                f"{corpus.name}: training needs the splits train and valid (by which it chooses); "
                f"there is only {', '.join(corpus.splits)}"
            )
        split = corpus[name]
        if split.labels is None or not labelled(split).any():
            raise ImderError(f"{corpus.name}: split {name!r} has no labels; training needs some in train and in valid")


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Seeded initial weights and dropout; the caller's generators are left as they were."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@torch.no_grad()
def _initialise(model: Model, split: Split) -> None:
    """Start the regression head at the training median: the constant baseline is where learning begins."""
    model.init_output_bias(torch.from_numpy(split.labels[labelled(split)]))  # type: ignore[index]


def _phase(
    model: Model,
    phase: Phase,
    corpus: Corpus,
    training: TrainingConfig,
    run: RunDirectory,
    engine: EngineConfig,
    callbacks: Sequence[L.Callback],
    stage1: str | Path | None,
) -> dict[str, Any]:
    """One phase: from disk if it was finished, from another run if it is stage 1 and one is given, or trained."""
    config: PhaseConfig = training.phase(phase)
    path = run.weights(phase)
    if path.exists():
        load_weights(model, path)
        run.drop_checkpoint(phase)
        with safe_open(path, "pt") as file:
            return {k: json.loads(v) for k, v in (file.metadata() or {}).items()}
    started = time.monotonic()
    if phase == "stage1" and stage1 is not None:
        _adopt(model, RunDirectory(stage1).weights("stage1"))
        reached: dict[str, Any] = {"from": str(stage1)}
    else:
        everything = natural_loader(corpus["train"], training, context=model.uses_context)
        model.on_phase_start(phase, everything, training.seed, permanently_missing=training.permanently_missing)
        validation = validation_loader(
            corpus["valid"], config, training, all_patterns=phase != "score", context=model.uses_context
        )
        if any(True for part in model.trainable_modules(phase) for _ in part.parameters()):
            reached = _learn(model, phase, corpus, training, run, engine, callbacks, validation)
            model.on_phase_end(phase, validation, VALIDATION_SEED)
        else:
            model.on_phase_end(phase, validation, VALIDATION_SEED)
            reached = {"valid": _task_loss(model, phase, validation)}
    model.requires_grad_(True)
    reached["seconds"] = round(reached.get("seconds", 0.0) + time.monotonic() - started, 1)
    if is_main_process(engine):
        path.parent.mkdir(exist_ok=True)
        model.save_phase(path, {k: json.dumps(v) for k, v in reached.items()})
        run.drop_checkpoint(phase)
    log.info("%s: %s", phase, reached)
    return reached


def _learn(
    model: Model,
    phase: Phase,
    corpus: Corpus,
    training: TrainingConfig,
    run: RunDirectory,
    engine: EngineConfig,
    callbacks: Sequence[L.Callback],
    validation: MaskedLoader,
) -> dict[str, Any]:
    """Train what a phase trains, and load its best weights."""
    config: PhaseConfig = training.phase(phase)
    module = PhaseModule(model, phase, config, training, corpus["train"], validation)
    best_weights = BestWeights(config.ema, config.patience)
    with quiet():
        checkpoint = run.checkpoint(phase)
        saving = Checkpoint(checkpoint, engine.checkpoint_seconds)
        trainer = trainer_of(run, phase, config, engine, [*callbacks, best_weights, saving])
        with interruptible(trainer):
            trainer.fit(module, ckpt_path=checkpoint if checkpoint.exists() else None, weights_only=True)
    model.load_state_dict(best_weights.best_state)
    reached = {"valid": best_weights.best, "best_epoch": best_weights.best_epoch, "epochs": trainer.current_epoch}
    return reached | {"seconds": saving.earlier}


def _task_loss(model: Model, phase: Phase, validation: MaskedLoader) -> float:
    """The task's loss of a phase that wasn't learned by gradient, on its validation pairs."""
    losses = [model.losses(batch, phase, VALIDATION_SEED)["task"] for batch in validation]
    return float(sum(float(x.total) for x in losses) / max(1.0, sum(x.count for x in losses)))


def _adopt(model: Model, path: Path) -> None:
    """Take stage 1's part of another run's weights.

    Raises:
        ImderError: they aren't there or of another shape.
    """
    wanted: dict[str, Tensor] = {}
    parts = {id(m) for part in model.trainable_modules("stage1") for m in part.modules()}
    state = model.state_dict()
    for prefix, module in model.named_modules():
        if id(module) in parts:
            wanted |= {k: v for k, v in state.items() if k.startswith(prefix + ".")}
    if not wanted:
        raise ImderError(
            f"{path}: {model.system!r} learns nothing in a stage 1 that another run could give; leave it out"
        )
    try:
        with safe_open(path, "pt") as file:
            found = {k: file.get_tensor(k) for k in wanted}
    except Exception as error:  # safetensors raises its own exception types, which it doesn't export
        raise ImderError(f"{path}: has no stage 1 for this configuration ({error})") from None
    if wrong := [k for k, v in found.items() if v.shape != wanted[k].shape]:
        raise ImderError(f"{path}: stage 1 of another configuration ({wrong[0]} is {tuple(found[wrong[0]].shape)})")
    model.load_state_dict({**state, **found})


__all__ = ["is_main_process", "train"]
