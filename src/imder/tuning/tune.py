"""Tuning: the configuration of a preset's search space with the least validation loss.

The loss is that of the finished system's predictions for every subset of what each validation sample has
(`imder.training.validation`): the same for every system, whatever its own objective is. The test split isn't even handed
over. The first trial is the preset itself, or what is nearest to it in the space.

Trials are in an Optuna storage, which several processes on several machines may share; a study of the same name goes on
where it was left. A trial is a training from scratch with the same seed; its run is removed once its loss is known. One that
was interrupted counts for nothing: another is made instead, and the preset itself is tried again. One whose process was
killed gives no sign of life any more; that is noticed after `DEAD_AFTER` seconds, while others go on.
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
from imder.evaluation.results import write_csv
from imder.jobs.files import atomic_write
from imder.training.config import EngineConfig, RunConfig, load_config
from imder.training.train import train
from imder.training.validation import validation_loss
from imder.tuning.space import Dimension, Space, first_value, overrides, space_of
from imder.types import ImderError

HEARTBEAT, DEAD_AFTER = 20, 300
"""Seconds from one sign of life of a trial to the next, and of silence after which it is taken for dead."""

REASON = "reason"
"""Attribute of a trial that failed: why."""

Report = Callable[[int, int, float | None], None]
"""Called with the trials done, those to do and the least loss so far."""


def tune(
    preset: str,
    corpus: Corpus,
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
    """Search a preset's space.

    Args:
        preset: one that has a space (`imder.tuning.space`).
        corpus: with labelled splits train and valid.
        out: folder for ``best.yaml`` (for ``imder train --config``), ``trials.csv`` and, by default, the storage.
        trials: in all, those of earlier calls and of other processes included; None for no limit.
        minutes: no trial begins later; None for no limit.
        storage: URL of an Optuna storage; None for an SQLite file in ``out``.
        seed: of the training and of the search.
        max_epochs: no phase runs longer.
        engine: devices and precision.
        report: called after each trial.

    Returns:
        The best configuration as it is in ``best.yaml``.

    Raises:
        ImderError: no space, no limit, Optuna isn't installed, the storage can't be used or holds a study that isn't this,
            or no trial succeeded.
    """
    if trials is None and minutes is None:
        raise ImderError("tune: say how long with --trials or --minutes")
    space, start = space_of(preset), load_config(preset)
    out = Path(out)
    optuna = _optuna()
    known = replace(corpus, splits={name: corpus[name] for name in ("train", "valid")})  # never the test split
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImderError(f"{out}: cannot be written ({error.strerror or error})") from None
    about = {"preset": start.to_dict(), "corpus": fingerprint(known), "seed": seed, "max_epochs": max_epochs}
    study = _study(
        optuna, storage or f"sqlite:///{(out / 'trials.sqlite').absolute()}", preset, corpus.name, about, seed
    )
    first = {name: first_value(d, start) for name, d in space.items()}

    def objective(trial: Any) -> float:
        values = {name: _suggest(trial, name, dimension) for name, dimension in space.items()}
        fixed = {"training.seed": seed, "training.calibration_samples": 0}  # how sure it is has no part in the loss
        config = load_config(preset, overrides=overrides(space, values, start) | fixed)
        config = config if max_epochs is None else config.with_max_epochs(max_epochs)
        try:
            return _loss(known, out / "trials" / str(trial.number), config, engine)
        except Exception as error:
            trial.set_user_attr(REASON, str(error))
            raise

    until = None if minutes is None else time.monotonic() + 60 * minutes
    while _open(optuna, study, trials) and (until is None or time.monotonic() < until):
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
    """The study of that name, made if there is none."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    name = f"{preset} on {corpus}"
    try:
        options = {"engine_kwargs": {"connect_args": {"timeout": 60}}} if url.startswith("sqlite") else {}
        with _experimental(optuna):
            store = optuna.storages.RDBStorage(url, heartbeat_interval=HEARTBEAT, grace_period=DEAD_AFTER, **options)
        study = optuna.create_study(storage=store, study_name=name, direction="minimize", load_if_exists=True)
    except Exception as error:  # of whatever database it is
        raise ImderError(f"--storage {url}: {' '.join(str(error).split())[:300]}") from None
    text = json.dumps(about, sort_keys=True)
    if study.user_attrs.get("about", text) != text:
        found = json.loads(study.user_attrs["about"])
        other = next(key for key in about if found.get(key) != about[key])
        raise ImderError(f"tune: study {name!r} was begun with another {other}; choose another --out or --storage")
    study.set_user_attr("about", text)
    begun = len(study.get_trials(deepcopy=False))  # a process that joins later doesn't repeat the first one's guesses
    study.sampler = optuna.samplers.TPESampler(seed=seed * 100_003 + begun)
    return study


@contextmanager
def _experimental(optuna: Any) -> Iterator[None]:
    """Heartbeats are called experimental since 2021."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _fail_dead(optuna: Any, study: Any) -> None:
    """Let trials of killed processes fail."""
    with _experimental(optuna):
        optuna.storages.fail_stale_trials(study)


def _alive(optuna: Any, study: Any) -> list[Any]:
    """Trials but those that were interrupted: they ended without a loss and without a reason."""
    found = study.get_trials(deepcopy=False)
    return [t for t in found if t.state != optuna.trial.TrialState.FAIL or REASON in t.user_attrs]


def _remove_dead(optuna: Any, study: Any, folder: Path) -> None:
    """Runs of trials that ended without removing them: their processes were killed."""
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.FAIL,)):
        shutil.rmtree(folder / str(trial.number), ignore_errors=True)


def _done(optuna: Any, study: Any) -> list[Any]:
    """Trials that ended by themselves."""
    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.FAIL)
    return [t for t in _alive(optuna, study) if t.state in states]


def _open(optuna: Any, study: Any, trials: int | None) -> bool:
    return trials is None or len(_done(optuna, study)) < trials


def _least(optuna: Any, study: Any) -> float | None:
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    return min((float(t.value) for t in complete), default=None)


def _write(optuna: Any, study: Any, space: Space, start: RunConfig, out: Path) -> dict[str, Any] | None:
    """``best.yaml`` and ``trials.csv``, of all processes' trials; the best, None where no trial has succeeded yet."""
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
        place = config
        for step in path:
            place = place.setdefault(step, {})
        place[last] = value
    head = f"# {start.preset}, tuned: validation loss {best.value:.6g}, the best of {len(complete)} trials.\n"
    with atomic_write(out / "best.yaml") as part:
        part.write_text(head + yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return config


def _optuna() -> Any:
    """Optuna.

    Raises:
        ImderError: it isn't installed.
    """
    try:
        return import_module("optuna")
    except ImportError as error:
        raise ImderError(f"tune: {error}; pip install 'imder[tune]'") from None
