"""``imder benchmark --fixed-model``: compare fillers of missing modalities for models that need all their inputs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from imder.benchmarking.fixed.fillers import DEFAULT_FILLERS, FILLERS
from imder.cli.console import PARTLY, say, show, width
from imder.cli.options import thread_count
from imder.cli.parser import counts, listed
from imder.types import ImderError

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.cli.parser import Parser

OTHERS = {
    "tuned": None,
    "table": None,
    "recipe": None,
    "one_model": False,
    "protocols": None,
    "rates": None,
    "draws": 10,
    "per_rate": False,
    "official_batch_size": 32,
    "correction": "holm",
    "device": "auto",
}
"""Options of the comparison of systems alone, and their defaults."""
OWN = {"fillers": None, "fills": None, "outage": None, "modalities": None, "pooled": False, "reference": None}
"""Options of the comparison of fillers alone, and their defaults."""


def add_fixed_options(parser: Parser) -> None:
    """Options of the comparison of fillers."""
    parser.add_argument(
        "--fixed-model",
        type=listed,
        metavar="MODEL.py",
        help="compare ways to fill in missing modalities for models trained on complete clips: files with a function "
        "fit(train, valid), or any of linear, boosting, mult, paper, with commas",
    )
    parser.add_argument(
        "--fillers",
        type=listed,
        help=f"with --fixed-model: any of {', '.join(FILLERS)} (default: {','.join(DEFAULT_FILLERS)})",
    )
    parser.add_argument(
        "--fills", type=counts, help="with --fixed-model: draws that predictions are averaged over (default: 1,4,16)"
    )
    parser.add_argument(
        "--outage",
        choices=["dialogue", "half"],
        help="with --fixed-model: a modality is missing in all test clips, or in a random half at a time "
        "(default: dialogue)",
    )
    parser.add_argument(
        "--modalities", type=listed, help="with --fixed-model: those that the models read (default: all of the corpus)"
    )
    parser.add_argument(
        "--pooled", action="store_true", help="with --fixed-model: pool sequences to single vectors first"
    )
    parser.add_argument(
        "--reference",
        help="with --fixed-model: the filler that others are compared with (default: the last that draws)",
    )


def check_mode(options: Namespace) -> None:
    """Raise `ImderError` for an option of the other kind of comparison."""
    fixed = options.fixed_model is not None
    for name, default in (OTHERS if fixed else OWN).items():
        if options[name] != default:
            needs = "is for comparisons of systems; leave it out with --fixed-model" if fixed else "needs --fixed-model"
            hint = "; --fills says how many draws are averaged" if fixed and name == "draws" else ""
            raise ImderError(f"--{name.replace('_', '-')} {needs}{hint}")


def run_fixed(options: Namespace) -> int:
    """Run what is missing, and print the tables."""
    from imder.benchmarking.fixed.compare import DRAWS, compare_fillers
    from imder.evaluation.layout import render_blocks
    from imder.jobs.progress import counting

    with counting("cells", each=True) as report:
        result = compare_fillers(
            options.corpus,
            options.out,
            models=options.fixed_model,
            fillers=options.fillers or DEFAULT_FILLERS,
            draws=options.fills or DRAWS,
            systems=options.models or (),
            folds=options.folds,
            seeds=options.seeds or 1,
            label_share=options.label_share,
            outage=options.outage or "dialogue",
            modalities=options.modalities or (),
            pooled=options.pooled,
            max_epochs=options.max_epochs,
            metrics=options.metrics,
            reference=options.reference,
            resamples=options.resamples,
            jobs=options.jobs,
            threads=thread_count(options, 1),
            backend=options.backend,
            address=options.address,
            task=options.task,
            drop_empty=options.drop_empty,
            progress=report,
        )
    for table in result.report.tables:
        show(render_blocks(table, width()))
    say(f"{', '.join(result.report.files)} saved in {options.out}")
    if result.elsewhere:
        say("another process works on a part of this comparison; the same command completes the tables")
    for cell, reason in result.report.failed.items():
        print(f"imder: failed: {cell}: {reason}", file=sys.stderr)
    return PARTLY if result.report.failed else 0
