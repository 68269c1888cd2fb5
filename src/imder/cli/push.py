"""``imder push``: a trained model on the hub, with its card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imder.cli.console import say, say_all
from imder.cli.options import add_run

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.cli.parser import Parser


def add_options(parser: Parser) -> None:
    """Options of ``imder push``."""
    add_run(parser)
    parser.add_argument("repository", help="owner/name on the hub; created if it isn't there")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument(
        "--dry-run", action="store_true", help="list the files with their sizes in bytes, upload nothing"
    )


def run(options: Namespace) -> int:
    """Upload the model."""
    from imder.training.trained import TrainedModel

    model = TrainedModel.load(options.run, "cpu").model
    done = model.push_to_hub(options.repository, private=options.private, dry_run=options.dry_run)
    if options.dry_run:
        say_all(done.splitlines())
        say(f"nothing was uploaded to {options.repository}")
    else:
        say(f"uploaded to {done}")
    return 0
