"""``imder data inspect``: what a corpus holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from imder.cli.console import show
from imder.cli.options import add_corpus, add_padding, read_corpus

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.cli.parser import Parser


def add_options(parser: Parser) -> None:
    """Options of ``imder data inspect``."""
    add_corpus(parser)
    add_padding(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(options: Namespace) -> int:
    """Print the summary."""
    from imder.data.inspect import inspect_corpus
    from imder.data.inspect_render import render

    summary = inspect_corpus(read_corpus(options, options.padding, quiet=True))
    if options.json:
        print(json.dumps(summary, indent=2))
    else:
        show(render(summary))
    return 0
