"""The command line: a command is run, and mistakes are answered. The work is in `imder.cli.commands`.

Every mistake of the user's is one line on standard error and exit code 2; nothing half-written is left behind.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from jsonargparse import ArgumentError, Namespace


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    from imder.cli.parsers import make_parser
    from imder.types import ImderError

    logging.basicConfig(level=logging.WARNING, format="imder: %(levelname)s: %(message)s")
    try:
        parser = make_parser(argv)
        arguments = parser.parse_args(argv)
        if arguments.command == "train":  # single keys count only where they were given: the preset says the rest
            given = parser.parse_args(argv, defaults=False).train
            for group in ("model", "training"):
                arguments.train[group] = given.get(group)
        return _run(arguments)
    except (ImderError, ArgumentError) as error:
        print(f"imder: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        goes_on = argv[:1] in (["extract"], ["benchmark"], ["tune"])
        advice = "; the same command goes on with what is finished" if goes_on else ""
        print(f"imder: interrupted{advice}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"imder: error: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return 2


def _run(arguments: Namespace) -> int:
    from imder.cli import commands, grids

    name = arguments.command
    options = arguments[name]
    if name == "data":
        name, options = f"data_{options.action}", options[options.action]
    if name == "extract":
        from imder.cli.extract import extract

        return extract(options)
    if name == "predict":
        from imder.cli.media import predict

        return predict(options)
    if name in grids.COMMANDS:
        return grids.COMMANDS[name](options)
    getattr(commands, name)(options)
    return 0
