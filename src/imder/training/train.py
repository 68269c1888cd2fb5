"""`train`: a corpus in, a trained model and a run directory out.

Phases follow one another; after each, the model with its best weights is written. A run that was killed goes on from the
last finished phase and, within a phase, from its checkpoint. Every source of randomness is a function of the seed, the phase
and the epoch, so the result is that of an uninterrupted run.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L

from imder.calibration.calibration import FILE as CALIBRATION
from imder.calibration.calibration import Calibration
from imder.data.corpus import Corpus
from imder.data.formats.load import load_corpus
from imder.models.base import Model, Phase
from imder.training.calibrate import calibrate
from imder.training.config import EngineConfig, RunConfig
from imder.training.engine import check_engine, is_main_process, wait_for_all
from imder.training.loggers import LoggerChoice, chosen_loggers
from imder.training.phases import Session, run_phases
from imder.training.prepare import check_corpus, initial_model, new_settings, prepare, reopen, reproducible, start
from imder.training.run import RunDirectory
from imder.training.stage1 import check_stage1
from imder.training.validation import natural_metrics
from imder.types import ImderError


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
    logger: LoggerChoice = None,
    callbacks: Sequence[L.Callback] = (),
) -> Model:
    """Train a system and leave a run directory (`imder.training.run`).

    Args:
        corpus: with splits train and valid, or its path.
        out: the run directory.
        preset: a name, see `imder.training.config.load_config`.
        config: a YAML file over the preset, or a complete `RunConfig`.
        overrides: single keys over both, nested or dotted.
        max_epochs: the most epochs of any phase.
        stage1: another run of the same configuration, whose stage 1 is used instead of training one.
        resume: go on with the run in ``out`` and its own configuration.
        engine: devices and precision.
        logger: Lightning loggers, or names of `imder.training.loggers.LOGGERS`; False for none. The default writes CSV files
            and TensorBoard events to ``logs/`` of the run.
        callbacks: Lightning callbacks, such as a progress bar; they see every phase.

    Returns:
        The trained model, in evaluation mode.

    Raises:
        ImderError: a corpus without labels or splits, a bad configuration, a loss that isn't finite, ...
    """
    started = time.monotonic()
    source, corpus = (corpus.name, corpus) if isinstance(corpus, Corpus) else (str(corpus), load_corpus(corpus))
    engine, loggers, run = engine or EngineConfig(), chosen_loggers(logger), RunDirectory(out)
    _check_callbacks(callbacks)
    check_corpus(corpus)
    check_engine(engine)
    if resume:
        if config is not None or overrides or max_epochs is not None or stage1 is not None:
            raise ImderError(
                "train: resume uses the run's own settings; leave out config, overrides, max_epochs, stage1"
            )
        settings, other = reopen(run, corpus)
        if run.finished():
            return Model.from_pretrained(run.path)
    else:
        settings = new_settings(preset, config, overrides, max_epochs)
        check_stage1(stage1, settings.training.language_encoder, corpus)
        other = None if stage1 is None else RunDirectory(stage1)
    session = prepare(Session(run, settings, corpus, engine, None, other, loggers, tuple(callbacks)))
    with reproducible(settings.training.seed):
        model = initial_model(session)
        if not resume:
            start(session, model, source, corpus)
        if session.language is not None and is_main_process(engine):
            session.language.keep()
        before = time.monotonic()
        reached = run_phases(model, session)
        own_seconds = before - started
    return _finish(model, session, reached, own_seconds)


def _finish(model: Model, session: Session, reached: dict[Phase, dict[str, Any]], seconds: float) -> Model:
    """Calibrate, evaluate on validation and save; ``seconds`` were spent outside the phases."""
    started = time.monotonic()
    training, run, corpus = session.settings.training, session.run, session.corpus
    model.eval()
    if session.language is not None:
        corpus, model.language = session.language.corpus(), session.language.encoder
    if is_main_process(session.engine):
        model.calibration = calibrate(model, corpus, training)
        model.save_pretrained(run.path)
        valid = natural_metrics(model, corpus["valid"], training)
        seconds += time.monotonic() - started + sum(phase["seconds"] for phase in reached.values())
        metrics = {"phases": reached, "valid": valid, "recovery_weights": model.recovery_weights()}
        run.write_json("metrics.json", metrics | {"seconds": round(seconds, 1)})
    wait_for_all()  # other processes may read the run next
    if not is_main_process(session.engine) and (run.path / CALIBRATION).exists():
        model.calibration = Calibration.load(run.path / CALIBRATION)
    return model


def _check_callbacks(callbacks: Sequence[L.Callback]) -> None:
    if not isinstance(callbacks, Sequence) or not all(isinstance(c, L.Callback) for c in callbacks):
        raise ImderError("train: callbacks is a sequence of lightning.Callback objects")
