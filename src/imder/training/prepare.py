"""Before the phases: the corpus and the configuration of a run, checked, and the initial model.

Whatever may be refused is refused here, before anything is written.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from imder.data.compatible import check_recipe
from imder.data.corpus import Corpus, classes_without, constant_baseline
from imder.data.dialogues import dialogue_numbers
from imder.data.fingerprint import fingerprint, split_fingerprint
from imder.data.split import Split
from imder.data.token_ids import as_ids, with_token_ids
from imder.models.base import Model, Phase
from imder.models.baselines.closed_form import ClosedForm
from imder.models.registry import build, system_class
from imder.training.config import EngineConfig, RunConfig, TrainingConfig, load_config, with_fitting_phases
from imder.training.engine import device_of, is_main_process
from imder.training.language import RunLanguage
from imder.training.masks import check_masks, hide_labels, mode_of
from imder.training.phases import TrainingJob
from imder.training.run import RunDirectory
from imder.training.shortcuts import Shortcuts, check_option
from imder.training.stage1 import STAGE1, adopt_stage1
from imder.types import ImderError, Task

log = logging.getLogger(__name__)
_turn = threading.RLock()


def check_corpus(corpus: Corpus) -> None:
    """Raise `ImderError` unless there are two modalities and splits train and valid, labelled if there is a task."""
    check_modalities(corpus)
    for name in ("train", "valid"):
        if name not in corpus.splits:
            raise ImderError(
                f"{corpus.name}: training needs the splits train and valid (to select the best epoch); "
                f"there is only {', '.join(corpus.splits)}"
            )
        if corpus.spec.task != "none" and not corpus[name].labelled.any():
            raise ImderError(
                f"{corpus.name}: split {name!r} has no labels; training needs some in train and in valid"
                + "".join(f" ({remark})" for remark in corpus[name].unread)
            )


def check_modalities(corpus: Corpus) -> None:
    """Raise `ImderError` unless there are two modalities; a corpus with one is for trained models."""
    if len(corpus.spec.modalities) < 2:
        raise ImderError(
            f"{corpus.name}: training needs at least two modalities, found only {', '.join(corpus.spec.names)}"
        )


def new_settings(
    preset: str,
    config: str | Path | RunConfig | None,
    overrides: Mapping[str, Any] | None,
    shortcuts: Shortcuts,
    max_epochs: int | None,
    task: Task,
) -> RunConfig:
    """The configuration of a new run, from the arguments of `imder.train` and the task of the corpus.

    Raises:
        ImderError: unknown names or keys, values that don't fit, overrides of a `RunConfig`, which is complete, or a system
            that needs labels where there is no task.
    """
    if isinstance(config, RunConfig):
        if overrides or shortcuts.given():
            name = "overrides" if overrides else shortcuts.given()[0]
            raise ImderError(f"train: {name} changes a preset or a file; change a RunConfig with dataclasses.replace")
        settings = config
    else:
        check_option("config", config, str | Path | None, "a YAML file or a RunConfig")
        settings = load_config(preset, config, dict(overrides or {}) | shortcuts.overrides(preset, config))
        _check_closed_form(settings)
    if task == "none":
        model = system_class(settings.system).without_labels(settings.model)
        settings = with_fitting_phases(replace(settings, model=model))
    return settings if max_epochs is None else settings.with_max_epochs(max_epochs)


def _check_closed_form(settings: RunConfig) -> None:
    """Raise `ImderError` for settings of gradient descent where a system has none; a limit of epochs does no harm."""
    if not issubclass(system_class(settings.system), ClosedForm):
        return
    usual = load_config(settings.preset).training if settings.preset else settings.training
    for phase in settings.training.phase_names:
        given, known = settings.training.phase(phase), usual.phase(phase)
        for field in fields(given):
            if field.name not in ("max_epochs", "batch_size", "missing") and getattr(given, field.name) != getattr(
                known, field.name
            ):
                raise ImderError(
                    f"training.{phase}.{field.name}: {settings.system} is fitted in closed form; leave it out"
                )


def reopen(run: RunDirectory, corpus: Corpus) -> tuple[RunConfig, RunDirectory | None]:
    """The configuration of a run that goes on, and the run that gave its stage 1.

    Raises:
        ImderError: there is no run, or it was started on another corpus.
    """
    settings, given = run.open(), corpus
    check_recipe(run.recipe(), corpus, str(run.path))
    path, spec = run.corpus()
    if settings.training.language_encoder.name is not None:
        spec, corpus = as_ids(spec), with_token_ids(corpus)
    if spec != corpus.spec:
        raise ImderError(f"{run.path}: was started on another corpus ({path})")
    _check_data(run, given, path)
    stage1 = run.trained_on()["stage1"]
    return settings, None if stage1 is None else RunDirectory(stage1)


def _fingerprints(corpus: Corpus) -> dict[str, dict[str, str]]:
    return {name: split_fingerprint(corpus[name]) for name in ("train", "valid")}


def _check_data(run: RunDirectory, corpus: Corpus, path: str) -> None:
    before = run.trained_on()["fingerprint"]
    for name, parts in _fingerprints(corpus).items():
        if differing := [part for part, value in parts.items() if before.get(name, {}).get(part) != value]:
            raise ImderError(
                f"{run.path}: was started on other data: {', '.join(differing)} of split {name!r} differ from those of "
                f"{path} then; resume with the same data, or start a new run on these"
            )


def prepare(job: TrainingJob) -> TrainingJob:
    """Read the corpus as the phases do: some labels hidden on request, and token ids for a language encoder.

    Raises:
        ImderError: the corpus has no token ids, or the language encoder can't be loaded or doesn't fit.
    """
    training, corpus = job.settings.training, job.corpus
    has_encoder = training.language_encoder.name is not None
    if has_encoder and not system_class(job.settings.system).tunes_language:
        raise ImderError(f"{job.settings.system}: no language encoder can be tuned with it; leave language_encoder out")
    if has_encoder and getattr(getattr(job.settings.model, "recovery", None), "inpaint", False):
        raise ImderError(
            "model.recovery.inpaint recovers steps of precomputed features; a language encoder changes the others too: leave "
            "one of the two out"
        )
    corpus = with_token_ids(corpus) if has_encoder else corpus
    train = hide_labels(corpus["train"], training.label_share, training.seed)
    corpus = replace(corpus, splits={**corpus.splits, "train": train})
    if missing := classes_without(train, corpus.spec):
        log.warning("no training sample is labelled %s; such classes are hardly ever predicted", ", ".join(missing))
    for name, has_it in zip(train.features, train.present.T, strict=True):
        if not has_it.any():
            log.warning(
                "no training sample has %s; nothing is learned about it, and recoveries of it are meaningless", name
            )
    language = None
    if has_encoder:
        stage1 = None if job.stage1 is None else job.stage1.path
        with reproducible(training.seed, job.engine):
            language = RunLanguage(training.language_encoder, job.run, corpus, stage1, device_of(job.engine))
    return replace(job, corpus=corpus, language=language)


@torch.no_grad()
def initial_model(job: TrainingJob) -> Model:
    """A new model, its output bias at the training median or class shares: learning begins at the constant baseline."""
    spec = job.corpus.spec if job.language is None else job.language.spec
    model = build(job.settings.system, job.settings.model, spec)
    train = job.corpus["train"]
    if spec.task != "none":
        assert train.labels is not None, "checked by check_corpus"
        model.init_output_bias(torch.from_numpy(train.labels[train.labelled]))
    return model


def start(job: TrainingJob, model: Model, source: str, corpus: Corpus, claimed: ExitStack) -> None:
    """Check that every phase can be trained; then create the run directory.

    Args:
        job: of the new run.
        model: the initial model.
        source: path or name of the corpus.
        corpus: as it was given, for its fingerprint.
        claimed: a block during which other processes keep out of the run.

    Raises:
        ImderError: stage 1 of another run doesn't fit, masks that the system can't be trained on, or a run that exists.
    """
    train = job.corpus["train"]
    if job.stage1 is not None:
        adopt_stage1(model, job.stage1)
    if job.language is not None:
        job.language.learner(model, STAGE1)
    check_phases(model, job.settings, train, context=model.needs_dialogues(train))
    if model.uses_context:
        dialogue_numbers(job.corpus["valid"])
    if is_main_process(job.engine):
        job.run.check_new()
        claimed.enter_context(job.run.locked())
        job.run.create(
            job.settings,
            model.spec,
            corpus=source,
            fingerprint=fingerprint(corpus),
            splits=_fingerprints(corpus),
            baseline=constant_baseline(train, job.corpus.spec),
            stage1=None if job.stage1 is None else str(job.stage1.path),
            recipe=job.corpus.recipe,
        )


def check_phases(system: Model | type[Model], settings: RunConfig, train: Split, *, context: bool) -> None:
    """Check the objective and the training masks of each phase.

    Args:
        system: the model, or its class before there is one.
        settings: the configuration.
        train: the training samples.
        context: whether batches hold whole dialogues.

    Raises:
        ImderError: masks that are undefined on the samples, or that the system can't be trained on.
    """
    for phase in system.phases(settings.model):
        check_objective(system, phase, settings.training)
        check_masks(train, settings.training.phase(system.settings_of(phase)), settings.training, context=context)


def check_objective(model: Model | type[Model], phase: Phase, training: TrainingConfig) -> None:
    """Raise `ImderError` for an objective that the system doesn't have."""
    settings = training.phase(model.settings_of(phase))
    every = mode_of(settings, training) == "every"
    if every and not model.all_subsets:
        raise ImderError(
            f"training.{phase}.missing 'every': {model.system} can't try every subset of a sample in one step; "
            "use 'any' or 'rate'"
        )
    asks = settings.self_distillation != "auto" and settings.self_distillation > 0
    if asks and not (every and model.self_distills):
        raise ImderError(
            f"training.{phase}.self_distillation: {model.system} has none unless it trains on every subset (missing 'every', "
            "missing_rate 'any'); set it to 0"
        )


@contextmanager
def reproducible(seed: int, engine: EngineConfig) -> Iterator[None]:
    """Seed initial weights and dropout for a block; the caller's generators and settings are left as they were.

    Threads take turns, since torch's layers draw from one generator for all threads of a process. On a CPU only
    deterministic algorithms are used. Accelerators have none for some operations, so there a training can't be repeated to
    the last bit unless the caller finds a way (``torch.use_deterministic_algorithms``).
    """
    with _turn, torch.random.fork_rng():
        before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
        memory: Any = torch.utils.deterministic  # a property that the types don't know
        filled = memory.fill_uninitialized_memory
        torch.manual_seed(seed)
        try:
            if device_of(engine).type == "cpu":
                torch.use_deterministic_algorithms(True)
                memory.fill_uninitialized_memory = False  # nothing reads it
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
            memory.fill_uninitialized_memory = filled
