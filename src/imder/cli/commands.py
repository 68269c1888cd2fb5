"""What each command does. Options are checked by `imder.cli.parsers`."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from rich.console import Console

from imder.calibration.calibration import FILE as CALIBRATION
from imder.calibration.describe import LEVEL
from imder.cli.progress import PhaseBar, counting
from imder.data.corpus import Corpus
from imder.data.formats.load import load_corpus, load_for
from imder.data.inspect import inspect_corpus
from imder.data.inspect_render import render
from imder.data.speaker_norm import by_speaker, speaker_norm_note
from imder.data.store import write_store
from imder.evaluation.evaluate import constant_rows
from imder.evaluation.evaluate import evaluate as evaluate_model
from imder.evaluation.results import summarise, write_csv
from imder.evaluation.tables import rich_table, uncertainty_metrics
from imder.inference.predict import predict as predict_rows
from imder.inference.recover import recover as recover_corpus
from imder.models.base import Model
from imder.training.config import EngineConfig, load_config
from imder.training.engine import is_main_process
from imder.training.run import RunDirectory
from imder.training.train import train as train_model
from imder.types import ImderError

console = Console()

NOTES = 8


def set_threads(options: Namespace) -> None:
    """As many as were asked for."""
    if options.threads:
        torch.set_num_threads(options.threads)


def _given(group: Namespace | None) -> dict[str, Any]:
    """Only what was set, as plain containers."""
    return {} if group is None else dict(group.as_dict())


def train(options: Namespace) -> None:
    """``imder train``."""
    set_threads(options)
    if (options.out is None) == (options.resume is None):
        raise ImderError("say where the run goes with --out, or which run to go on with with --resume (one of them)")
    corpus = load_corpus(options.corpus, task=options.task, drop_empty=options.drop_empty)
    engine = EngineConfig(**options.engine.as_dict()) if isinstance(options.engine, Namespace) else options.engine
    callbacks = [PhaseBar()]
    if options.resume is not None:
        out = options.resume
        own = (
            "config",
            "stage1",
            "missing_rate",
            "recovery",
            "language_encoder",
            "seed",
            "max_epochs",
            "model",
            "training",
        )
        given = [k for k in own if options[k]]
        if given:
            raise ImderError(
                f"--resume goes on with the run's own configuration; leave out --{given[0].replace('_', '-')}"
            )
        model = train_model(corpus, out, resume=True, engine=engine, callbacks=callbacks)
    else:
        out = options.out
        overrides: dict[str, Any] = {group: _given(options[group]) for group in ("model", "training")}
        if options.missing_rate is not None:
            rate = options.missing_rate
            overrides["training"]["missing_rate"] = (
                rate if rate in ("any", "official") else _number(rate, "--missing-rate")
            )
        if options.recovery is not None:
            overrides["model.recovery.kind"] = options.recovery
        if options.language_encoder is not None:
            overrides["training"].setdefault("language_encoder", {})["name"] = options.language_encoder
        if options.seed is not None:
            overrides["training"]["seed"] = int(options.seed)
        config = load_config(options.preset, options.config, overrides)
        model = train_model(
            corpus,
            out,
            config=config,
            max_epochs=options.max_epochs,
            stage1=options.stage1,
            engine=engine,
            callbacks=callbacks,
        )
    if not is_main_process(engine):
        return
    reached = RunDirectory(out).read_json("metrics.json")
    for phase, found in reached["phases"].items():
        shown = (f"{k} {v:.5g}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items())
        console.print(f"{phase}: " + ", ".join(shown))
    console.print(
        "validation, everything present available: " + ", ".join(f"{k} {v:.3f}" for k, v in reached["valid"].items())
    )
    for note in [] if model.calibration is None else model.calibration.notes():
        console.print(f"calibration of {note}")
    console.print(f"saved in {out}")


def evaluate(options: Namespace) -> None:
    """``imder evaluate``."""
    model, corpus = _asked(options)
    rates = [_number(r, "--rates") for r in options.rates.split(",")]
    settings: dict[str, Any] = {
        "run": str(options.run),
        "split": options.split,
        "protocol": options.protocol,
        "rates": rates,
        "draws": options.draws,
        "seed": options.seed,
        "convention": options.metrics,
        "official_batch_size": options.official_batch_size,
    }
    with counting("predicting") as report:
        rows = evaluate_model(
            model, corpus, samples=options.samples, batch_size=options.batch_size, progress=report, **settings
        )
    baseline = trained_on(options.run).get("constant_baseline")
    calibrated = model.calibration is not None
    if model.system != "constant":  # which is the constant baseline itself
        rows += constant_rows(corpus, baseline=baseline, calibrated=calibrated, **settings)
    summary = summarise(rows)
    console.print(rich_table(summary, options.protocol, width=console.width))
    if note := speaker_norm_note(corpus.recipe):
        console.print(note)
    if model.calibration is not None:
        console.print(f"\nuncertainty: {promise(model, LEVEL)}; 80 %: the most certain rows")
        shown = uncertainty_metrics(summary)
        console.print(rich_table(summary, options.protocol, shown, width=console.width))
    say_calibration(model)
    if options.out:
        write_csv(rows, options.out)
        console.print(f"saved in {options.out}")


def predict(options: Namespace) -> None:
    """``imder predict`` of a corpus; of media: `imder.cli.media`."""
    if options.out is None:
        raise ImderError("say where the predictions go with --out")
    model, corpus = _asked(options)
    with counting("predicting") as report:
        rows = predict_rows(
            model,
            corpus,
            options.split,
            samples=options.samples,
            seed=options.seed,
            batch_size=options.batch_size,
            level=options.level,
            progress=report,
        )
    write_csv(rows, options.out)
    if model.calibration is not None:
        console.print(f"with {promise(model, options.level)}")
    say_calibration(model)
    console.print(f"{len(rows)} predictions saved in {options.out}")


def promise(model: Model, level: float) -> str:
    """What intervals or sets are for."""
    what = "sets of classes" if model.spec.task == "classification" else "intervals"
    return f"{what} that should cover {100 * level:g} % of the labels"


def say_calibration(model: Model, only: str | None = None) -> None:
    """What a user must know before trusting intervals: that there is none, or on what it rests, for one subset or for all."""
    if model.calibration is None:
        console.print(f"no calibration was saved with this model: nothing is said of how sure it is (no {CALIBRATION})")
    elif notes := [n for n in model.calibration.notes() if only is None or n.startswith(f"{only}:")]:
        console.print("calibration of subsets with few validation samples:")
        for note in notes[:NOTES]:
            console.print(f"  {note}")
        if len(notes) > NOTES:
            console.print(f"  and {len(notes) - NOTES} more subsets")


def recover(options: Namespace) -> None:
    """``imder recover``."""
    model, corpus = _asked(options)
    with counting("recovering") as report:
        made = recover_corpus(
            model,
            corpus,
            options.out,
            options.split,
            samples=options.samples,
            seed=options.seed,
            batch_size=options.batch_size,
            progress=report,
        )
    count = sum(len(s) for s in made.splits.values())
    console.print(f"recoveries of {count} samples ({', '.join(made.spec.names)}) saved in {options.out}")


def data_inspect(options: Namespace) -> None:
    """``imder data inspect``."""
    summary = inspect_corpus(load_corpus(options.corpus, task=options.task, drop_empty=options.drop_empty))
    if options.json:
        console.print_json(json.dumps(summary))
    else:
        console.print(render(summary))


def data_convert(options: Namespace) -> None:
    """``imder data convert``."""
    corpus = load_corpus(options.corpus, task=options.task, drop_empty=options.drop_empty)
    if options.by_speaker is None:
        write_store(corpus, options.out, options.dtype)
    else:
        names = [name.strip() for name in options.by_speaker.split(",")]
        beside = next(folder for folder in Path(os.path.realpath(options.out)).parents if folder.exists())
        with tempfile.TemporaryDirectory(prefix=".by-speaker.", dir=beside) as work:  # /tmp is often memory
            corpus = by_speaker(corpus, names, Path(work))
            write_store(corpus, options.out, options.dtype)
    count = sum(map(len, corpus.splits.values()))
    console.print(f"{count} samples written to {options.out}")
    if note := speaker_norm_note(corpus.recipe):
        console.print(note)


def demo(options: Namespace) -> None:
    """``imder demo``."""
    set_threads(options)
    from imder.cli.demo import demo as run_demo

    run_demo(Path(options.out), int(options.seed), console)


def trained_on(run: str) -> dict[str, Any]:
    """What is known of the corpus that a run was trained on; nothing where it isn't a run directory."""
    directory = RunDirectory(run)
    return dict(directory.read_json("trained_on.json")) if (directory.path / "trained_on.json").exists() else {}


def load_model(options: Namespace) -> Model:
    """The model of a run that is finished, on the device asked for."""
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if (RunDirectory(options.run).path / "config.yaml").exists() and not RunDirectory(options.run).finished():
        raise ImderError(
            f"{options.run}: training has not finished; go on with: imder train CORPUS --resume {options.run}"
        )
    try:
        return Model.from_pretrained(options.run).to(device)
    except RuntimeError as error:
        raise ImderError(f"--device {device}: {str(error).splitlines()[0]}") from None


def _asked(options: Namespace) -> tuple[Model, Corpus]:
    """The run that a command is about, and the corpus as it reads it."""
    set_threads(options)
    model = load_model(options)
    has_encoder = model.language is not None
    recipe = RunDirectory(options.run).recipe()
    corpus = load_for(
        model.spec, recipe, options.run, options.corpus, drop_empty=options.drop_empty, token_ids=has_encoder
    )
    return model, corpus


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ImderError(f"{option}: {text!r} isn't a number") from None
