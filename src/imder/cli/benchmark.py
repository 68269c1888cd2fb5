"""``imder benchmark``: compare systems on one corpus, in a grid of models and seeds that can be resumed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imder.cli.console import PARTLY, say, say_all, show, width
from imder.cli.options import (
    RATES,
    add_accelerator,
    add_backend,
    add_corpus,
    add_metrics,
    thread_count,
)
from imder.cli.parser import listed, number, numbers, whole
from imder.types import ImderError

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.benchmarking.cell import Source
    from imder.benchmarking.plan import GridCell, Plan
    from imder.benchmarking.runner import Status
    from imder.cli.parser import Parser

ALL_FAILED = 1
"""Exit code when no cell could be finished."""


def add_options(parser: Parser) -> None:
    """Options of ``imder benchmark``."""
    from imder.missingness.protocols import evaluation_protocols

    add_corpus(parser)
    parser.add_argument("--out", default="benchmark", help="folder; the same command again continues there")
    parser.add_argument(
        "--models",
        type=listed,
        help="presets, variants such as imder:mean, or YAML files, separated by commas (default: all that fit)",
    )
    parser.add_argument(
        "--tuned", metavar="NAME", help="use the settings tuned for this corpus, where a model has them"
    )
    parser.add_argument("--table", type=int, choices=[2, 3], help="models and protocols of the paper's table")
    parser.add_argument(
        "--protocols", type=listed, help=f"of {', '.join(evaluation_protocols())}; with commas (default: random,fixed)"
    )
    parser.add_argument("--rates", type=numbers, help=RATES)
    parser.add_argument("--seeds", type=whole(1), default=3, help="trainings of each model")
    parser.add_argument("--draws", type=whole(1), default=10, help="masks drawn for each rate")
    parser.add_argument("--per-rate", action="store_true", help="train a model for each rate instead of one for all")
    parser.add_argument(
        "--label-share", type=number(above=0, most=1), default=1.0, help="share of the training labels used, above 0"
    )
    parser.add_argument("--folds", type=whole(), default=0, help="rotations over speakers; 0 keeps the corpus' splits")
    parser.add_argument("--max-epochs", type=whole(1), help="limit of epochs for every phase (default: each preset's)")
    add_metrics(parser)
    parser.add_argument("--official-batch-size", type=whole(1), default=32, help="of the official schedule")
    parser.add_argument("--resamples", type=whole(1), default=1000, help="of the bootstrap")
    add_backend(parser, "trainings", "1")
    add_accelerator(parser)


def run(options: Namespace) -> int:
    """Run the cells that are missing, and print tables of all."""
    from imder.benchmarking.cell import Source
    from imder.benchmarking.folder import BenchmarkFolder
    from imder.benchmarking.report import write_report
    from imder.benchmarking.runner import run_cells
    from imder.cli.progress import counting
    from imder.evaluation.rendering import render_rich

    source = Source(str(Path(options.corpus).absolute()), options.task, options.drop_empty)
    asked = _plan(options, source)
    corpus = source.load()
    plan = BenchmarkFolder(options.out).join(asked)
    cells = asked.cells()
    with counting("cells", each=True) as report:

        def on_status(status: Status) -> None:
            report(status.finished + status.failed, status.total, _note(status), status.left)

        failed = run_cells(
            options.out,
            source,
            plan,
            cells,
            jobs=options.jobs,
            threads=thread_count(options, 1),
            backend=options.backend,
            address=options.address,
            device=options.device,
            report=on_status,
        )
    if len(failed) == len(cells):
        _complain(failed)
        return ALL_FAILED
    written = write_report(options.out, corpus, plan, resamples=options.resamples)
    for table in (*written.fitting(width()), *written.comparisons):
        show(render_rich(table, width()))
    say_all(written.remarks)
    say(f"{', '.join(written.files)} saved in {options.out}")
    _complain(failed)
    return PARTLY if failed else 0


def resume_advice(options: Namespace) -> str:
    """How to continue an interrupted benchmark."""
    del options
    return "the same command continues with the finished cells"


def _plan(options: Namespace, source: Source) -> Plan:
    """The grid that the options ask for, checked before anything is written."""
    from imder.benchmarking.folds import fold_of
    from imder.benchmarking.model_specs import TABLES, default_models, model_specs
    from imder.benchmarking.plan import make_plan
    from imder.evaluation.cells import RATES as DEFAULT_RATES
    from imder.evaluation.evaluate import convention_of

    if options.table is not None and (options.models or options.protocols):
        given = "--models" if options.models else "--protocols"
        raise ImderError(f"--table {options.table} sets models and protocols; leave out {given}")
    if options.folds and options.tuned is not None:
        raise ImderError("--tuned: the settings were chosen on validation clips that --folds also tests; leave one out")
    corpus = source.load()
    models: Sequence[str] = default_models(corpus.spec.names)
    protocols: Sequence[str] = ("random",) if options.per_rate else ("random", "fixed")
    if options.table is not None:
        models, protocols = TABLES[options.table]
    specs = model_specs(options.models or models, options.max_epochs, options.label_share, options.tuned)
    if not options.folds:
        for split in ("train", "valid", "test"):
            if corpus[split].labels is None:
                raise ImderError(f"{corpus.name}: split {split!r} has no labels")
    else:
        fold_of(corpus, 0, options.folds)
    return make_plan(
        specs,
        corpus,
        seeds=options.seeds,
        draws=options.draws,
        rates=options.rates or DEFAULT_RATES,
        protocols=options.protocols or protocols,
        per_rate=options.per_rate,
        convention=convention_of(corpus, options.metrics),
        official_batch_size=options.official_batch_size,
        folds=options.folds,
    )


def _note(status: Status) -> str:
    """The cells that run, and how many failed."""
    running = list(status.running[:3])
    if len(status.running) > 3:
        running.append(f"{len(status.running) - 3} more")
    return ", ".join([*([f"{status.failed} failed"] if status.failed else []), *running])


def _complain(failed: dict[GridCell, str]) -> None:
    for cell, reason in failed.items():
        print(f"imder: failed: {cell.name}: {reason}", file=sys.stderr)
