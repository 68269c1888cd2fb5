"""``imder benchmark``: compare systems on one corpus, in a grid of models and seeds that can be resumed.

With ``--fixed-model`` it compares ways to fill in what such a model lacks (`imder.cli.benchmark_fixed`).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from imder.benchmarking.conflicts import check_conflicts
from imder.cli.benchmark_fixed import add_fixed_options, check_mode, run_fixed
from imder.cli.console import PARTLY, say, say_all, show, width
from imder.cli.options import (
    RATE_EACH,
    RATES,
    add_accelerator,
    add_backend,
    add_corpus,
    add_metrics,
    thread_count,
)
from imder.cli.parser import listed, number, rates, whole

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.benchmarking.runner import Status
    from imder.cli.parser import Parser

SEEDS = 3
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
        help="presets, YAML files, or variants such as imder:mean, separated by commas (default: all that fit; with "
        "--fixed-model: none)",
    )
    parser.add_argument(
        "--tuned", metavar="NAME", help="use the settings tuned for this corpus, where a model has them"
    )
    parser.add_argument(
        "--table",
        type=int,
        choices=[2, 3],
        help="systems of that table of the paper, under the random protocol, with a model for each missing rate",
    )
    parser.add_argument(
        "--recipe",
        metavar="NAME",
        help="with --table: the preset of IMDer, or a YAML file over one (default: paper-mosi, paper-mosei or paper-sims, "
        "whichever fits the corpus)",
    )
    parser.add_argument("--one-model", action="store_true", help="with --table: one model for all missing rates")
    parser.add_argument(
        "--protocols",
        type=listed,
        help=f"any of {', '.join(evaluation_protocols())}, with commas (default: random,fixed)",
    )
    parser.add_argument("--rates", type=rates, help=f"{RATES}; for the independent protocol also {RATE_EACH}")
    parser.add_argument("--seeds", type=whole(1), help="trainings of each model (default: 3; 1 with --fixed-model)")
    parser.add_argument("--draws", type=whole(1), default=10, help="masks drawn for each rate")
    parser.add_argument("--per-rate", action="store_true", help="train a model for each rate instead of one for all")
    parser.add_argument(
        "--label-share", type=number(above=0, most=1), default=1.0, help="share of the training labels used, above 0"
    )
    parser.add_argument(
        "--folds",
        type=whole(),
        default=0,
        help="rotations over speakers, or over dialogues where some have several speakers or speakers are unknown; "
        "0 keeps the corpus' splits",
    )
    parser.add_argument("--max-epochs", type=whole(1), help="limit of epochs for every phase (default: each preset's)")
    add_metrics(parser)
    parser.add_argument("--official-batch-size", type=whole(1), default=32, help="batch size of the official schedule")
    parser.add_argument("--resamples", type=whole(1), default=1000, help="number of bootstrap resamples")
    parser.add_argument(
        "--correction",
        choices=["holm", "none"],
        default="holm",
        help="of p-values for the many comparisons of a table, which decide what is bold",
    )
    add_fixed_options(parser)
    add_backend(parser, "trainings", "1")
    add_accelerator(parser)


def run(options: Namespace) -> int:
    """Run the cells that are missing, and print tables of all."""
    check_mode(options)
    if options.fixed_model is not None:
        return run_fixed(options)
    check_conflicts(
        table=options.table,
        models=options.models,
        protocols=options.protocols,
        recipe=options.recipe,
        one_model=options.one_model,
        per_rate=options.per_rate,
        tuned=options.tuned,
        folds=options.folds,
    )
    from imder.benchmarking.benchmark import benchmark
    from imder.evaluation.layout import render_blocks
    from imder.jobs.progress import counting

    with counting("cells", each=True) as report:

        def on_status(status: Status) -> None:
            report(status.finished + status.failed, status.total, _note(status), status.left)

        result = benchmark(
            options.corpus,
            options.out,
            models=options.models,
            protocols=options.protocols,
            table=options.table,
            recipe=options.recipe,
            one_model=options.one_model,
            seeds=options.seeds or SEEDS,
            rates=options.rates or None,
            draws=options.draws,
            per_rate=options.per_rate,
            folds=options.folds,
            label_share=options.label_share,
            tuned=options.tuned,
            max_epochs=options.max_epochs,
            metrics=options.metrics,
            official_batch_size=options.official_batch_size,
            resamples=options.resamples,
            correction=options.correction,
            jobs=options.jobs,
            threads=thread_count(options, 1),
            backend=options.backend,
            address=options.address,
            device=options.device,
            task=options.task,
            drop_empty=options.drop_empty,
            progress=on_status,
        )
    for table in (*result.tables(width()), *result.comparisons(width())):
        show(render_blocks(table, width()))
    say_all(result.remarks)
    if result.files:
        say(f"{', '.join(result.files)} saved in {options.out}")
    for name, reason in result.failed.items():
        print(f"imder: failed: {name}: {reason}", file=sys.stderr)
    if not result.rows:
        return ALL_FAILED
    return PARTLY if result.failed else 0


def resume_advice(options: Namespace) -> str:
    """How to continue an interrupted benchmark."""
    del options
    return "the same command continues, also in the middle of a training"


def _note(status: Status) -> str:
    """The cells that run, and how many failed."""
    running = list(status.running[:3])
    if len(status.running) > 3:
        running.append(f"{len(status.running) - 3} more")
    return ", ".join([*([f"{status.failed} failed"] if status.failed else []), *running])
