"""`train`: a corpus in, a trained model and a run directory out.

Phases follow one another; after each, the model with its best weights is written. A run that was killed goes on from the
last finished phase and, within a phase, from its checkpoint. Every source of randomness is a function of the seed, the phase
and the epoch, so the result is that of an uninterrupted run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L

from imder.data.corpus import Corpus
from imder.data.formats.load import load_corpus
from imder.data.token_ids import unused_tokens
from imder.models.base import Model, Phase
from imder.models.card import CardFacts, model_card
from imder.models.configuration import POSITIVE_COUNT
from imder.training.calibrate import calibrate
from imder.training.config import EngineConfig, RunConfig
from imder.training.engine import check_engine, device_of, end_with_launcher, is_main_process, wait_for_all
from imder.training.explained import explained_by_recovery
from imder.training.loggers import LoggerChoice, chosen_loggers
from imder.training.phases import TrainingJob, run_phases
from imder.training.prepare import (
    check_corpus,
    initial_model,
    new_settings,
    prepare,
    reopen,
    reproducible,
    start,
)
from imder.training.progress import PhaseProgress
from imder.training.run import RunDirectory
from imder.training.shortcuts import Shortcuts, check_option
from imder.training.stage1 import check_stage1
from imder.training.validation import natural_metrics
from imder.types import ImderError, Task

log = logging.getLogger(__name__)


def train(
    corpus: Corpus | str | Path,
    out: str | Path,
    *,
    preset: str | None = None,
    config: str | Path | RunConfig | None = None,
    overrides: Mapping[str, Any] | None = None,
    missing_rate: str | float | None = None,
    protocol: str | None = None,
    recovery: str | None = None,
    language_encoder: str | Path | None = None,
    seed: int | None = None,
    max_epochs: int | None = None,
    stage1: str | Path | None = None,
    resume: bool = False,
    engine: EngineConfig | None = None,
    logger: LoggerChoice = None,
    callbacks: Sequence[L.Callback] = (),
    task: Task | None = None,
    drop_empty: bool = False,
    progress: bool = False,
) -> Model:
    """Train a system and leave a run directory (`imder.training.run`).

    Args:
        corpus: with splits train and valid, or its path.
        out: the run directory.
        preset: a name, see `imder.training.config.load_config`; None for ``fast``, or ``imputer`` without a task.
        config: a YAML file over the preset, or a complete `RunConfig`.
        overrides: single keys over both, nested or dotted.
        missing_rate: of training masks: a number, or a protocol such as ``any``; like the next four it wins over the
            settings above, and None leaves them as they are.
        protocol: what training masks drop: ``random`` for modalities, ``frames`` for steps of them, ``mixed`` for both.
        recovery: what replaces missing encodings, for systems that recover (`imder.models.imder.config.KINDS`).
        language_encoder: a transformer, by folder or name, to tune in stage 1 on token ids.
        seed: of everything random.
        max_epochs: the most epochs of any phase.
        stage1: another run of the same configuration, whose stage 1 is used instead of training one.
        resume: go on with the run in ``out`` and its own configuration.
        engine: devices and precision.
        logger: Lightning loggers, or names of `imder.training.loggers.LOGGERS`; ``none`` or False for none. The default
            writes CSV files and TensorBoard events to ``logs/`` of the run.
        callbacks: Lightning callbacks; they see every phase.
        task: which labels to take from a corpus on disk that has both kinds; ``none`` for a system that needs none. With
            ``resume`` None stands for those of the run.
        drop_empty: leave out samples without any modality instead of raising, for a corpus on disk.
        progress: show each phase on standard error: a bar on a terminal, a line every 30 s elsewhere.

    Returns:
        The trained model, in evaluation mode.

    Raises:
        ImderError: a corpus without labels or splits, a bad configuration, a loss that isn't finite, ...
    """
    started = time.monotonic()
    end_with_launcher()
    _check_options(out, preset, overrides, stage1, engine, callbacks)
    for name, flag in {"resume": resume, "drop_empty": drop_empty, "progress": progress}.items():
        check_option(name, flag, bool, "True or False")
    if max_epochs is not None:
        POSITIVE_COUNT.check("max_epochs", max_epochs)
    shortcuts = Shortcuts(missing_rate, recovery, language_encoder, seed, protocol)
    engine, loggers, run = engine or EngineConfig(), chosen_loggers(logger), RunDirectory(out)
    source, corpus = _read(corpus, task or (_task_of(run, corpus) if resume else None), drop_empty)
    callbacks = [*callbacks, PhaseProgress()] if progress else callbacks
    check_corpus(corpus)
    check_engine(engine)
    if resume:
        others = {
            "preset": preset,
            "config": config,
            "overrides": overrides or None,
            "max_epochs": max_epochs,
            "stage1": stage1,
        }
        if given := [*(name for name, value in others.items() if value is not None), *shortcuts.given()]:
            raise ImderError(f"train: resume uses the run's own settings; leave out {', '.join(given)}")
        settings, other = reopen(run, corpus)
        if run.finished():
            return Model.from_pretrained(run.path).to(device_of(engine))
    else:
        preset = preset or ("imputer" if corpus.spec.task == "none" else "fast")
        settings = new_settings(preset, config, overrides, shortcuts, max_epochs, corpus.spec.task)
        check_stage1(stage1, settings.training.language_encoder, corpus)
        other = None if stage1 is None else RunDirectory(stage1)
    for remark in unused_tokens(corpus) if settings.training.language_encoder.name is None else ():
        log.warning("%s: %s", corpus.name, remark)
    with ExitStack() as claimed:
        if resume and is_main_process(engine):
            claimed.enter_context(run.locked())
        job = prepare(TrainingJob(run, settings, corpus, engine, None, other, loggers, tuple(callbacks)))
        with reproducible(settings.training.seed, engine):
            model = initial_model(job)
            if not resume:
                start(job, model, source, corpus, claimed)
            if job.language is not None and is_main_process(engine):
                job.language.keep()
            before = time.monotonic()
            reached = run_phases(model, job)
        return _finish(model, job, reached, before - started)


def _finish(model: Model, job: TrainingJob, reached: dict[Phase, dict[str, Any]], seconds: float) -> Model:
    """Calibrate, evaluate on validation and save; ``seconds`` were spent outside the phases.

    Every process computes the same, so none waits for another longer than for files; the first one writes them.
    """
    started = time.monotonic()
    training, run, corpus = job.settings.training, job.run, job.corpus
    model.eval().to(device_of(job.engine))
    if job.language is not None:
        corpus, model.language = job.language.corpus(), job.language.encoder
    model.calibration = calibrate(model, corpus, training) if model.predicts else None
    valid = natural_metrics(model, corpus["valid"], training) if model.predicts else {}
    explained = explained_by_recovery(model, corpus, training)
    model.card = model_card(model, _facts(corpus, valid, explained.get("valid", {})))
    if is_main_process(job.engine):
        model.save_pretrained(run.path)
        seconds += time.monotonic() - started + sum(phase["seconds"] for phase in reached.values())
        metrics = {"phases": reached, "valid": valid, "recovery_weights": model.recovery_weights()}
        run.write_json("metrics.json", metrics | {"recovery_r2": explained, "seconds": round(seconds, 1)})
    wait_for_all()  # other processes may read the run next
    return model


def _facts(corpus: Corpus, valid: Mapping[str, float], explained: Mapping[str, float]) -> CardFacts:
    """What the model's card says of its training."""
    shares = corpus["train"].present.mean(axis=0)
    return CardFacts(
        corpus=corpus.name,
        samples={name: len(split) for name, split in corpus.splits.items()},
        present=dict(zip(corpus.spec.names, shares.tolist(), strict=True)),
        valid=valid,
        recovery_r2=explained,
        recipe=corpus.recipe or {},
    )


def _read(corpus: Corpus | str | Path, task: Task | None, drop_empty: bool) -> tuple[str, Corpus]:
    """The path or name of a corpus, and the corpus."""
    if not isinstance(corpus, Corpus):
        check_option("corpus", corpus, str | Path, "a corpus or its path")
        return str(corpus), load_corpus(corpus, task=task, drop_empty=drop_empty)
    if task == "none":
        splits = {name: replace(split, labels=None) for name, split in corpus.splits.items()}
        return corpus.name, replace(corpus, spec=replace(corpus.spec, task="none", classes=()), splits=splits)
    if task not in (None, corpus.spec.task):
        raise ImderError(f"{corpus.name}: is a corpus for {corpus.spec.task}, not for {task}")
    return corpus.name, corpus


def _task_of(run: RunDirectory, corpus: Corpus | str | Path) -> Task | None:
    """Which labels a run that goes on takes from a corpus; None to take those it has."""
    if not (run.path / "trained_on.json").exists():
        return None
    task = run.corpus()[1].task
    return task if task == "none" or not isinstance(corpus, Corpus) else None


def _check_options(
    out: Any, preset: Any, overrides: Any, stage1: Any, engine: Any, callbacks: Sequence[L.Callback]
) -> None:
    check_option("out", out, str | Path, "the path of a folder")
    check_option("preset", preset, str | None, "the name of a preset")
    check_option("overrides", overrides, Mapping | None, "a mapping such as {'training.seed': 1}")
    check_option("stage1", stage1, str | Path | None, "the folder of a run")
    check_option("engine", engine, EngineConfig | None, "an EngineConfig")
    if not isinstance(callbacks, Sequence) or not all(isinstance(c, L.Callback) for c in callbacks):
        raise ImderError("train: callbacks is a sequence of lightning.Callback objects")
