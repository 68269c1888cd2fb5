"""What the commands do that train many times: ``imder benchmark`` and ``imder tune``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import yaml
from jsonargparse import Namespace
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from imder.benchmarking.cell import Source
from imder.benchmarking.folder import BenchmarkFolder
from imder.benchmarking.folds import fold_of
from imder.benchmarking.model_specs import PRESETS, TABLES, default_models, model_specs
from imder.benchmarking.plan import GridCell, Plan, make_plan
from imder.benchmarking.report import write_report
from imder.benchmarking.runner import Status, run_cells
from imder.data.formats.load import load_corpus
from imder.evaluation.evaluate import convention_of
from imder.evaluation.rendering import render_rich
from imder.training.config import EngineConfig
from imder.types import ImderError

console = Console()

NOTHING, PART = 1, 3
"""Exit codes: no cell could be finished; some could not."""


def benchmark(options: Namespace) -> int:
    """``imder benchmark``."""
    source = Source(str(Path(options.corpus).absolute()), options.task, options.drop_empty)
    asked = _plan(options, source)
    corpus = source.load()
    plan = BenchmarkFolder(options.out).join(asked)
    cells = asked.cells()
    with _bar("cells") as bar:
        task = bar.add_task("", total=len(cells), note="")

        said = -1

        def report(now: Status) -> None:
            nonlocal said
            done = now.finished + now.failed
            bar.update(task, completed=done, note=_note(now))
            if not bar.console.is_terminal and done != said:  # a log gets a line for each cell, not a bar
                said = done
                bar.console.print(Text(f"cells {done}/{now.total}  {_note(now)}"), soft_wrap=True)

        failed = run_cells(
            options.out,
            source,
            plan,
            cells,
            jobs=int(options.jobs),
            threads=int(options.threads),
            backend=options.backend,
            address=options.address,
            device=options.device,
            report=report,
        )
    if len(failed) == len(cells):
        _complain(failed)
        return NOTHING
    made = write_report(options.out, corpus, plan, resamples=int(options.resamples))
    for table in (*made.fitting(console.width), *made.comparisons):
        console.print(render_rich(table, console.width))
    for remark in made.remarks:
        console.print(Text(remark))
    console.print(Text(f"{', '.join(made.files)} saved in {options.out}"))
    _complain(failed)
    return PART if failed else 0


def _plan(options: Namespace, source: Source) -> Plan:
    """What is asked for, checked before anything is written."""
    if options.table is not None and (options.models or options.protocols):
        given = "--models" if options.models else "--protocols"
        raise ImderError(f"--table {options.table} says models and protocols; leave out {given}")
    if options.folds and options.tuned is not None:
        raise ImderError("--tuned: the settings were chosen on validation clips that --folds also tests; leave one out")
    corpus = source.load()
    models: Sequence[str] = default_models(corpus.spec.names)
    protocols: Sequence[str] = ("random",) if options.per_rate else ("random", "fixed")
    if options.table is not None:
        models, protocols = TABLES[options.table]
    if options.models:
        models = _listed(options.models)
    if options.protocols:
        protocols = _listed(options.protocols)
    epochs = None if options.max_epochs is None else int(options.max_epochs)
    found = model_specs(models, epochs, float(options.label_share), options.tuned)
    if not options.folds:
        for split in ("train", "valid", "test"):
            if corpus[split].labels is None:
                raise ImderError(f"{corpus.name}: split {split!r} has no labels")
    else:
        fold_of(corpus, 0, options.folds)
    return make_plan(
        found,
        corpus,
        seeds=int(options.seeds),
        draws=int(options.draws),
        rates=[_rate(text) for text in _listed(options.rates)],
        protocols=protocols,
        per_rate=options.per_rate,
        convention=convention_of(corpus, options.metrics),
        official_batch_size=int(options.official_batch_size),
        folds=int(options.folds),
    )


def _listed(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _rate(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ImderError(f"--rates: {text!r} isn't a number") from None


def _bar(what: str) -> Progress:
    return Progress(
        TextColumn(f"{what} {{task.completed}}/{{task.total}}"),
        BarColumn(24),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(file=sys.stderr),
        refresh_per_second=2,
    )


def _note(now: Status) -> str:
    """Time left, what runs and what failed, in a line."""
    parts = [] if now.left is None else [f"left {_duration(now.left)}"]
    if now.running:
        more = f" and {len(now.running) - 3} more" if len(now.running) > 3 else ""
        parts.append(", ".join(now.running[:3]) + more)
    return "  ".join([*parts, *([f"{now.failed} failed"] if now.failed else [])])


def _duration(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> _duration(3725), _duration(65)
    ('1:02:05', '1:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _complain(failed: dict[GridCell, str]) -> None:
    for cell, reason in failed.items():
        print(f"imder: failed: {cell.name}: {reason}", file=sys.stderr)


def tune(options: Namespace) -> int:
    """``imder tune``."""
    from imder.tuning.tune import tune as search

    if options.threads:
        torch.set_num_threads(options.threads)
    preset = PRESETS.get(options.model, options.model)
    corpus = load_corpus(options.corpus, task=options.task, drop_empty=options.drop_empty)
    trials = 30 if options.trials is None and options.minutes is None else options.trials
    accelerators = {"auto": "auto", "cpu": "cpu", "cuda": "gpu"}
    with _bar("trials") as bar:
        task = bar.add_task("", total=trials, note="")

        def report(done: int, total: int, least: float | None) -> None:
            note = "" if least is None else f"least validation loss {least:.4g}"
            bar.update(task, completed=done, total=total, note=note)

        best = search(
            preset,
            corpus,
            options.out,
            trials=None if trials is None else int(trials),
            minutes=None if options.minutes is None else float(options.minutes),
            storage=options.storage,
            seed=int(options.seed),
            max_epochs=None if options.max_epochs is None else int(options.max_epochs),
            engine=EngineConfig(accelerator=accelerators[options.device]),
            report=report,
        )
    console.print(Text(yaml.safe_dump(best, sort_keys=False).rstrip()))
    console.print(
        Text(f"best.yaml and trials.csv saved in {options.out}; imder train ... --config {options.out}/best.yaml")
    )
    return 0


COMMANDS: dict[str, Callable[[Namespace], int]] = {"benchmark": benchmark, "tune": tune}
