"""Tuning: the configuration of a preset's search space with the least validation loss.

The loss is that of the trained system's predictions for every subset of each validation sample's modalities
(`imder.training.validation`): the same for every system, whatever its own objective is. The test split is never read. The
first trial is the preset itself, or the nearest point of the space.

Trials are stored in an Optuna storage, which several processes on several machines may share; a study of the same name is
continued. A trial is a training from scratch with the same seed; its run is removed once its loss is known. An interrupted
trial does not count: another replaces it, and the preset itself is tried again. A trial whose process was killed sends no
heartbeats; it is replaced after `DEAD_AFTER` seconds, while others go on.
"""

from __future__ import annotations

import json
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from imder.data.corpus import Corpus
from imder.data.fingerprint import fingerprint
from imder.data.formats.load import load_corpus
from imder.evaluation.results import write_csv
from imder.jobs.files import atomic_write
from imder.training.config import EngineConfig, RunConfig, load_config
from imder.training.prepare import check_corpus
from imder.training.train import train
from imder.training.validation import validation_loss
from imder.tuning.space import Dimension, Space, first_value, overrides, space_of
from imder.types import ImderError

HEARTBEAT, DEAD_AFTER = 20, 300
"""Seconds between heartbeats of a trial, and of silence after which it counts as dead."""

REASON = "reason"
"""Attribute of a failed trial: the error."""

Report = Callable[[int, int, float | None], None]
"""Called with the number of trials done, their total, and the least loss so far."""


def tune(
    preset: str,
    corpus: Corpus | str | Path,
    out: str | Path,
    *,
    trials: int | None = 30,
    minutes: float | None = None,
    storage: str | None = None,
    seed: int = 0,
    max_epochs: int | None = None,
    engine: EngineConfig | None = None,
    report: Report | None = None,
) -> dict[str, Any]:
    """Search the space of a preset for the settings with the least validation loss.

    Args:
        preset: one with a search space (`imder.tuning.space`).
        corpus: with labelled splits train and valid, or its path.
        out: folder for ``best.yaml`` (for ``imder train --config``), ``trials.csv`` and, by default, the storage.
        trials: in total, with those of earlier calls and of other processes; None for no limit.
        minutes: no trial begins later than this; None for no limit.
        storage: URL of an Optuna storage; None for an SQLite file in ``out``.
        seed: of training and search.
        max_epochs: the most epochs of any phase.
        engine: devices and precision.
        report: called after each trial.

    Returns:
        The best configuration, as written to ``best.yaml``.

    Raises:
        ImderError: no space, no limit, Optuna isn't installed, the storage can't be used or holds another study, or no trial
            succeeded.
    """
    if trials is None and minutes is None:
        raise ImderError("tune: say how long with trials or minutes (--trials, --minutes)")
    space, start = space_of(preset), load_config(preset)
    out = Path(out)
    optuna = _optuna()
    corpus = corpus if isinstance(corpus, Corpus) else load_corpus(corpus)
    check_corpus(corpus)
    corpus = replace(corpus, splits={name: corpus[name] for name in ("train", "valid")})  # never the test split
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImderError(f"{out}: cannot be written ({error.strerror or error})") from None
    about = {"preset": start.to_dict(), "corpus": fingerprint(corpus), "seed": seed, "max_epochs": max_epochs}
    study = _study(
        optuna, storage or f"sqlite:///{(out / 'trials.sqlite').absolute()}", preset, corpus.name, about, seed
    )
    first = {name: first_value(d, start) for name, d in space.items()}

    def objective(trial: Any) -> float:
        values = {name: _suggest(trial, name, dimension) for name, dimension in space.items()}
        fixed = {"training.seed": seed, "training.calibration_samples": 0}  # the loss ignores uncertainty
        config = load_config(preset, overrides=overrides(space, values, start) | fixed)
        config = config if max_epochs is None else config.with_max_epochs(max_epochs)
        try:
            return _loss(corpus, out / "trials" / str(trial.number), config, engine)
        except Exception as error:
            trial.set_user_attr(REASON, str(error))
            raise

    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    while _unfinished(optuna, study, trials) and (deadline is None or time.monotonic() < deadline):
        _fail_dead(optuna, study)
        _remove_dead(optuna, study, out / "trials")
        if not any(t.system_attrs.get("fixed_params") == first for t in _alive(optuna, study)):
            study.enqueue_trial(first)
        study.optimize(objective, n_trials=1, catch=(ImderError,))
        _write(optuna, study, space, start, out)
        if report is not None:
            done = _done(optuna, study)
            report(len(done), trials or len(done), _least(optuna, study))
    best = _write(optuna, study, space, start, out)
    if best is None:
        failed = _done(optuna, study)
        raise ImderError(f"tune: none of {len(failed)} trials succeeded; see {out / 'trials.csv'}")
    return best


def _loss(corpus: Corpus, path: Path, config: RunConfig, engine: EngineConfig | None) -> float:
    try:
        model = train(corpus, path, config=config, engine=engine)
        return validation_loss(model, model.prepare(corpus, "valid"), config.training)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _suggest(trial: Any, name: str, dimension: Dimension) -> Any:
    if dimension.choices:
        return trial.suggest_categorical(name, dimension.choices)
    return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)


def _study(optuna: Any, url: str, preset: str, corpus: str, about: dict[str, Any], seed: int) -> Any:
    """Create the study of a preset and a corpus, or continue it."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    name = f"{preset} on {corpus}"
    try:
        options = {"engine_kwargs": {"connect_args": {"timeout": 60}}} if url.startswith("sqlite") else {}
        with _experimental(optuna):
            store = optuna.storages.RDBStorage(url, heartbeat_interval=HEARTBEAT, grace_period=DEAD_AFTER, **options)
        study = optuna.create_study(storage=store, study_name=name, direction="minimize", load_if_exists=True)
    except Exception as error:  # each database has its own
        raise ImderError(f"storage {url}: {' '.join(str(error).split())[:300]}") from None
    text = json.dumps(about, sort_keys=True)
    if study.user_attrs.get("about", text) != text:
        found = json.loads(study.user_attrs["about"])
        other = next(key for key in about if found.get(key) != about[key])
        raise ImderError(
            f"tune: study {name!r} was started with another {other}; choose another out or storage (--out, --storage)"
        )
    study.set_user_attr("about", text)
    begun = len(study.get_trials(deepcopy=False))  # processes that join later sample other points
    study.sampler = optuna.samplers.TPESampler(seed=(seed * 100_003 + begun) % 2**32)
    return study


@contextmanager
def _experimental(optuna: Any) -> Iterator[None]:
    """Silence Optuna's warning that heartbeats are experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _fail_dead(optuna: Any, study: Any) -> None:
    """Mark trials of killed processes as failed."""
    with _experimental(optuna):
        optuna.storages.fail_stale_trials(study)


def _alive(optuna: Any, study: Any) -> list[Any]:
    """All trials except interrupted ones, which ended without a loss and without a reason."""
    found = study.get_trials(deepcopy=False)
    return [t for t in found if t.state != optuna.trial.TrialState.FAIL or REASON in t.user_attrs]


def _remove_dead(optuna: Any, study: Any, folder: Path) -> None:
    """Delete the runs that killed processes left."""
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.FAIL,)):
        shutil.rmtree(folder / str(trial.number), ignore_errors=True)


def _done(optuna: Any, study: Any) -> list[Any]:
    """Trials that were completed or failed with an error."""
    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.FAIL)
    return [t for t in _alive(optuna, study) if t.state in states]


def _unfinished(optuna: Any, study: Any, trials: int | None) -> bool:
    return trials is None or len(_done(optuna, study)) < trials


def _least(optuna: Any, study: Any) -> float | None:
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    return min((float(t.value) for t in complete), default=None)


def _write(optuna: Any, study: Any, space: Space, start: RunConfig, out: Path) -> dict[str, Any] | None:
    """Write ``best.yaml`` and ``trials.csv`` of all processes' trials; returns the best settings, None if there are none."""
    found = study.get_trials(deepcopy=False)
    rows = [
        {
            "trial": t.number,
            "state": t.state.name.lower(),
            "valid": t.value,
            **{name: t.params.get(name) for name in space},
            "seconds": round(t.duration.total_seconds(), 1) if t.duration else None,
        }
        for t in found
    ]
    if rows:
        write_csv(rows, out / "trials.csv")
    complete = [t for t in found if t.state == optuna.trial.TrialState.COMPLETE]
    if not complete:
        return None
    best = min(complete, key=lambda t: (t.value, t.number))
    config: dict[str, Any] = {"preset": start.preset}
    for key, value in overrides(space, {name: best.params[name] for name in space}, start).items():
        *path, last = key.split(".")
        settings = config
        for step in path:
            settings = settings.setdefault(step, {})
        settings[last] = value
    head = f"# {start.preset}, tuned: validation loss {best.value:.6g}, the best of {len(complete)} trials.\n"
    with atomic_write(out / "best.yaml") as part:
        part.write_text(head + yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return config


def _optuna() -> Any:
    """Import Optuna.

    Raises:
        ImderError: it isn't installed.
    """
    try:
        return import_module("optuna")
    except ImportError as error:
        raise ImderError(f"tune: {error}; pip install '.[tune]'") from None
