"""``imder impute``: a corpus whose missing modalities are filled, once for each draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imder.cli.console import say
from imder.cli.options import (
    CORPUS,
    add_available,
    add_device,
    add_drop_empty,
    add_run,
    add_seed,
    add_threads,
    available,
)
from imder.cli.parser import whole

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.cli.parser import Parser

ALL = "all"
"""The name that stands for every split; a corpus without splits has one of this name."""


def add_options(parser: Parser) -> None:
    """Options of ``imder impute``."""
    add_run(parser)
    parser.add_argument("corpus", help=CORPUS)
    parser.add_argument("--out", required=True, help="folder to write: a corpus for each draw")
    parser.add_argument("--draws", type=whole(1), default=16, help="draws of each missing modality")
    parser.add_argument(
        "--split", help="split, or all for a corpus of every split in each draw (default: test, or the only one)"
    )
    add_available(parser)
    parser.add_argument(
        "--format", choices=["npz", "store", "pickle"], help="layout of the files (default: that of the corpus)"
    )
    parser.add_argument("--force", action="store_true", help="replace earlier draws in --out")
    add_seed(parser)
    parser.add_argument("--batch-size", type=whole(1), default=64, help="samples filled at once")
    add_drop_empty(parser)
    add_device(parser)
    add_threads(parser)


def run(options: Namespace) -> int:
    """Fill what is missing, and write every draw."""
    from imder.imputation.layouts import check_out

    check_out(options.out, options.force)
    from imder.cli.trained import load_model
    from imder.imputation.impute import impute, impute_splits
    from imder.imputation.layouts import first_draw
    from imder.jobs.progress import counting

    trained = load_model(options)
    with counting("imputing") as report:
        settings: dict[str, Any] = {
            "available": available(options, trained.model.spec.names),
            "draws": options.draws,
            "seed": options.seed,
            "batch_size": options.batch_size,
            "layout": options.format,
            "drop_empty": options.drop_empty,
            "force": options.force,
            "progress": report,
        }
        if options.split == ALL:
            parts = list(impute_splits(trained, options.corpus, options.out, **settings).values())
        else:
            parts = [impute(trained, options.corpus, options.out, options.split, **settings)]
    for part in parts:
        counts = zip(part.names, part.filled.sum(axis=0).tolist(), strict=True)
        filled = ", ".join(f"{name} in {count}" for name, count in counts if count)
        say(f"{len(part.given)} samples of {part.split_name}: filled {filled or 'nothing'}")
    say(f"{options.draws} draws saved in {options.out}, each a corpus, such as {first_draw(options.out)}")
    return 0
