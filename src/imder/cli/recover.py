"""``imder recover``: encodings of the missing modalities, as a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imder.cli.console import say
from imder.cli.options import CORPUS, add_available, add_prediction, add_run, available

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.cli.parser import Parser


def add_options(parser: Parser) -> None:
    """Options of ``imder recover``."""
    add_run(parser)
    parser.add_argument("corpus", help=CORPUS)
    add_prediction(parser, samples=1, split=None)
    add_available(parser)
    parser.add_argument("--out", required=True, help="store to write")
    parser.add_argument("--force", action="store_true", help="replace a store in --out")


def run(options: Namespace) -> int:
    """Recover what is missing, and write it."""
    from imder.data.store import check_new_store

    check_new_store(options.out, options.force)
    from imder.cli.trained import load_both
    from imder.inference.recover import recover
    from imder.jobs.progress import counting

    model, corpus = load_both(options)
    with counting("recovering") as report:
        recovered = recover(
            model,
            corpus,
            options.out,
            options.split,
            available=available(options, model.spec.names),
            samples=options.samples,
            seed=options.seed,
            batch_size=options.batch_size,
            force=options.force,
            progress=report,
        )
    count = sum(map(len, recovered.splits.values()))
    say(f"recoveries of {count} samples ({', '.join(recovered.spec.names)}) saved in {options.out}")
    return 0
