"""``imder train``: train a system on a corpus, or continue a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from imder.cli.console import say, say_all, say_command
from imder.cli.options import add_corpus, add_threads, thread_count
from imder.cli.parser import listed, whole
from imder.cli.trained import recovery_lines, recovery_r2_lines, say_calibration
from imder.types import ImderError

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.cli.parser import Parser
    from imder.models.base import Model

CONFIGURATION = (
    "preset",
    "config",
    "stage1",
    "missing_rate",
    "protocol",
    "recovery",
    "language_encoder",
    "seed",
    "max_epochs",
    "model",
    "training",
)
"""Options that ``--resume`` refuses, since the run has its own configuration."""


def add_options(parser: Parser) -> None:
    """Options of ``imder train``; the keys of ``--model`` are those of the preset's system."""
    from imder.missingness.protocols import frame_protocols
    from imder.models.presets import read_preset
    from imder.models.registry import system_class
    from imder.training.config import EngineConfig, training_config_type

    add_corpus(parser)
    parser.add_argument("--out", help="run directory to create")
    parser.add_argument(
        "--preset",
        help="system and settings, such as fast, paper-mosi or late-fusion; it changes defaults of the keys below "
        "(default: fast, or imputer with --task none)",
    )
    parser.add_argument("--config", help="YAML file that changes the preset; a run's config.yaml repeats that run")
    parser.add_argument("--resume", metavar="RUN", help="run directory to continue, in place of --out")
    parser.add_argument("--stage1", metavar="RUN", help="run whose stage 1 is reused")
    parser.add_argument("--missing-rate", help="any, official, or a number (default: the preset's)")
    parser.add_argument(
        "--protocol",
        choices=["random", *frame_protocols()],
        help="what training masks drop: modalities (random), frames, or both (mixed), at --missing-rate; with any, each "
        "sample has its own rate (default: the preset's)",
    )
    parser.add_argument(
        "--recovery",
        help="conditional, unconditional, mean, regression, train-mean or zero (default: the preset's)",
    )
    parser.add_argument("--language-encoder", help="transformer (folder or name) to tune in stage 1, on token ids")
    parser.add_argument("--seed", type=whole(), help="seed of all random numbers (default: 0)")
    parser.add_argument("--max-epochs", type=whole(1), help="limit of epochs for every phase (default: the preset's)")
    parser.add_argument(
        "--logger",
        type=listed,
        help="any of csv, tensorboard, wandb, mlflow, with commas, or none (default: csv,tensorboard, in RUN/logs)",
    )
    add_threads(parser)
    system = system_class(read_preset(preset_of(parser.words))["system"])
    parser.add_overrides("model", system.config_type)
    parser.add_overrides("training", training_config_type(system.configured_phases()))
    parser.add_settings("engine", EngineConfig, EngineConfig())
    parser.usage = "imder train CORPUS (--out RUN | --resume RUN) [options]"


def run(options: Namespace) -> int:
    """Train, then print what was reached and what to type next."""
    from imder.jobs.threads import set_threads
    from imder.training.config import EngineConfig
    from imder.training.engine import is_main_process
    from imder.training.train import train

    set_threads(thread_count(options))
    if (options.out is None) == (options.resume is None):
        raise ImderError("give either --out RUN for a new run, or --resume RUN to continue one")
    engine = EngineConfig(**options.engine.as_dict())
    common: dict[str, Any] = {
        "engine": engine,
        "logger": options.logger,
        "task": options.task,
        "drop_empty": options.drop_empty,
        "progress": True,
    }
    if options.resume is not None:
        _refuse_configuration(options)
        model = train(options.corpus, options.resume, resume=True, **common)
    else:
        model = train(
            options.corpus,
            options.out,
            preset=options.preset,
            config=options.config,
            overrides=overrides(options),
            missing_rate=None if options.missing_rate is None else _rate(options.missing_rate),
            protocol=options.protocol,
            recovery=options.recovery,
            language_encoder=options.language_encoder,
            seed=options.seed,
            max_epochs=options.max_epochs,
            stage1=options.stage1,
            **common,
        )
    if is_main_process(engine):
        _report(model, options.resume or options.out, options.corpus)
    return 0


def resume_advice(options: Namespace) -> str:
    """How to continue an interrupted training."""
    path = options.resume or options.out
    started = path is not None and os.path.exists(os.path.join(path, "config.yaml"))
    if not started:
        return ""
    return f"continue with: imder train {options.corpus} --resume {path}{' --drop-empty' * options.drop_empty}"


def overrides(options: Namespace) -> dict[str, Any]:
    """What ``--model.*`` and ``--training.*`` change in the preset's configuration."""
    return {
        f"{group}.{key}": value
        for group in ("model", "training")
        for key, value in ({} if options[group] is None else options[group].as_dict()).items()
    }


def preset_of(words: Sequence[str]) -> str:
    """The preset that the words ask for, by --preset, --config or --resume: it decides which keys exist."""
    from imder.jobs.documents import read_yaml

    given: dict[str, str] = {}
    for name in ("preset", "config", "resume", "task"):
        for i, word in enumerate(words):
            if word == f"--{name}" and i + 1 < len(words):
                given[name] = words[i + 1]
            elif word.startswith(f"--{name}="):
                given[name] = word.partition("=")[2]
    path = given.get("config") or (os.path.join(given["resume"], "config.yaml") if "resume" in given else None)
    if path and os.path.isfile(path):
        try:
            content = read_yaml(path)
        except ImderError:
            content = None  # `load_config` reports it
        if isinstance(content, dict) and content.get("preset"):
            return str(content["preset"])
    return given.get("preset", "imputer" if given.get("task") == "none" else "fast")


def _refuse_configuration(options: Namespace) -> None:
    for name in CONFIGURATION:
        if options[name] is not None and (options[name] or name not in ("model", "training")):
            option = f"--{name.replace('_', '-')}"
            raise ImderError(f"--resume continues with the run's own configuration; leave out {option}")


def _rate(text: str) -> str | float:
    if text in ("any", "official"):
        return text
    try:
        return float(text)
    except ValueError:
        raise ImderError(f"--missing-rate: expected any, official or a number, got {text!r}") from None


def _report(model: Model, path: str, corpus: str) -> None:
    """Print losses by phase, validation metrics, limits of the calibration, and the commands that come next."""
    from imder.training.run import RunDirectory

    reached = RunDirectory(path).metrics()
    for phase, values in reached["phases"].items():
        shown = (f"{k} {v:.5g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())
        say(f"{phase}: " + ", ".join(shown))
    if reached["valid"]:
        metrics = ", ".join(f"{k} {v:.3f}" for k, v in reached["valid"].items())
        say(f"on the validation split, which chose the weights, everything present available: {metrics}")
    say_all(recovery_lines(model))
    for name, values in reached["recovery_r2"].items():
        say_all(recovery_r2_lines(model, values, name))
    if model.calibration is not None:
        say_calibration(model)
    say(f"saved in {path}; next:")
    if hasattr(model, "impute"):
        say_command("imder", "impute", path, corpus, "--out", "imputed")
    if reached["valid"]:
        say_command("imder", "evaluate", path, corpus)
        say_command("imder", "predict", path, corpus, "--out", "predictions.csv")
