"""The trained model that a command is about, and what is printed of its calibration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from imder.cli.console import say, say_all
from imder.cli.info import is_run
from imder.cli.options import thread_count
from imder.types import ImderError

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.data.corpus import Corpus
    from imder.models.base import Model
    from imder.training.trained import TrainedModel


def load_model(options: Namespace) -> TrainedModel:
    """The trained system of ``run`` on the device of ``--device``."""
    from imder.jobs.threads import set_threads
    from imder.training.trained import TrainedModel

    set_threads(thread_count(options))
    if (
        options.corpus is not None
        and is_run(options.corpus)
        and os.path.exists(options.run)
        and not is_run(options.run)
    ):
        raise ImderError(f"{options.run} is no run, but {options.corpus} is one: give the run first, then the corpus")
    return TrainedModel.load(options.run, options.device)


def load_both(options: Namespace) -> tuple[Model, Corpus]:
    """The model, and the corpus as that model reads it."""
    trained = load_model(options)
    return trained.model, trained.read(options.corpus, drop_empty=options.drop_empty)


def trained_on(run: str) -> dict[str, Any]:
    """What a run directory says of the corpus that it was trained on; empty for anything else."""
    from imder.training.run import RunDirectory

    directory = RunDirectory(run)
    return directory.trained_on() if (directory.path / "trained_on.json").exists() else {}


def promise(model: Model, level: float) -> str:
    """What intervals or prediction sets are calibrated to hold."""
    kind = "sets of classes" if model.spec.task == "classification" else "intervals"
    return f"{kind} that cover {100 * level:g} % of the labels on average"


def say_calibration(model: Model, only: str | None = None) -> None:
    """Print the limits of the intervals: there is no calibration, or one subset (``only``) or several rest on few samples."""
    from imder.calibration.calibration import FILE

    if model.calibration is None:
        say(f"no calibration was saved with this model (no {FILE}): predictions come without intervals or sets")
    else:
        say_all(f"calibration of {note}" for note in model.calibration.notes(only))


def recovery_lines(model: Model) -> list[str]:
    """For each pattern of available modalities, whether recoveries enter predictions; empty for systems without any."""
    weights = model.recovery_weights()
    if not weights:
        return []
    everything = "+".join(model.spec.names)
    shown = ", ".join(f"{pattern} {weight:g}" for pattern, weight in weights.items() if pattern != everything)
    lines = [f"recovery: weight in predictions by available modalities: {shown}"]
    if not any(weight for pattern, weight in weights.items() if pattern != everything):
        lines = ["recovery: weight 0 for every pattern of available modalities, so no recovery enters a prediction"]
    if weights[everything]:
        lines.append(f"with everything available, the second fusion has weight {weights[everything]:g}")
    return lines


def recovery_r2_lines(model: Model, values: Mapping[str, float], split: str = "") -> list[str]:
    """Recovery R^2 of each modality, a line; none where there is nothing to compare with."""
    from imder.training.explained import MOST_SAMPLES, r2_samples

    shown = ", ".join(f"{name} {value:.2f}" for name, value in values.items() if "|" not in name)
    where = f" on {split}" if split else ""
    if (most := r2_samples(model)) < MOST_SAMPLES:
        where += f" of at most {most} samples, as recovery is slow"
    return [f"recovery R^2{where} (1: exact, 0: no better than the mean): {shown}"] if shown else []
