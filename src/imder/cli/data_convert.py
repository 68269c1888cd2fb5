"""``imder data convert``: a corpus as a store."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from imder.cli.console import say
from imder.cli.options import add_corpus, add_padding, read_corpus
from imder.cli.parser import listed

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.cli.parser import Parser


def add_options(parser: Parser) -> None:
    """Options of ``imder data convert``."""
    add_corpus(parser)
    add_padding(parser)
    parser.add_argument("out", help="store to write")
    parser.add_argument("--force", action="store_true", help="replace a store in OUT")
    parser.add_argument(
        "--dtype", choices=["float32", "float16"], default="float32", help="type of the stored features"
    )
    parser.add_argument(
        "--by-speaker", type=listed, metavar="NAMES", help="modalities to standardise by speaker, such as audio,vision"
    )


def run(options: Namespace) -> int:
    """Write the store."""
    from imder.data.speaker_norm import by_speaker, speaker_norm_note
    from imder.data.store import check_new_store
    from imder.data.store_writer import write_store

    check_new_store(options.out, options.force)
    corpus = read_corpus(options, options.padding)
    if options.by_speaker is None:
        write_store(corpus, options.out, options.dtype)
    else:
        parent = next(folder for folder in Path(os.path.realpath(options.out)).parents if folder.exists())
        with tempfile.TemporaryDirectory(prefix=".by-speaker.", dir=parent) as work:  # /tmp may lie in memory
            corpus = by_speaker(corpus, options.by_speaker, Path(work))
            write_store(corpus, options.out, options.dtype)
    say(f"{sum(map(len, corpus.splits.values()))} samples written to {options.out}")
    if note := speaker_norm_note(corpus.recipe):
        say(note)
    return 0
