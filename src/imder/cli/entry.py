"""Entry point and error handling.

A user's mistake is one line on standard error and exit code 2, and leaves nothing half-written. An interrupt is exit code 130.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from imder.cli.commands import COMMANDS, CommandModule, find_command, group_members, overview
from imder.jobs.files import DiskFullError
from imder.jobs.interrupts import INTERRUPTED
from imder.one_line import one_line
from imder.types import ImderError

if TYPE_CHECKING:
    from jsonargparse import Namespace

MISTAKE = 2


class _OneLine(logging.Formatter):
    """Formats a record's message in one line."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = one_line(record.message)
        return super().formatMessage(record)


def run(argv: Sequence[str]) -> int:
    """Run a command; returns the exit code."""
    words = list(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal of ASCII shows escapes, never an error
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("imder: %(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    code = _run(words)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return code or 1
    except OSError as error:
        _discard_output()
        return code or _refuse(f"standard output: {error.strerror or error}")
    return code


def _run(words: list[str]) -> int:
    """Run a command; what it printed may still be in the buffer of standard output."""
    try:
        if text := _overview_of(words):
            print(text)
            return 0
        module, options = parse(words)
    except ImderError as error:
        return _refuse(str(error))
    except SystemExit as end:  # --help
        return int(end.code or 0)
    except OSError as error:
        return _unreadable(error)
    try:
        return module.run(options)
    except DiskFullError as error:
        advice = getattr(module, "resume_advice", lambda _: "")(options) or "run the command again"
        return _refuse(f"{error}; free space or raise the limit, then {advice}")
    except ImderError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        advice = getattr(module, "resume_advice", lambda _: "")(options)
        print(f"imder: interrupted{advice and '; '}{advice}", file=sys.stderr)
        return INTERRUPTED
    except UnicodeEncodeError as error:
        return _refuse(f"a text or name holds {error.object[error.start]!a}, which is no character of Unicode")
    except OSError as error:
        return _unreadable(error)


def parse(words: Sequence[str]) -> tuple[CommandModule, Namespace]:
    """The module of a command and its options.

    Raises:
        ImderError: an unknown command or option, or a value that doesn't fit.
        SystemExit: after the help of a command is printed.
    """
    from imder.cli.parser import Parser

    name, rest = find_command(words)
    command = COMMANDS[name]
    module = command.load()
    parser = Parser(f"imder {name}", f"{command.help[0].upper()}{command.help[1:]}.", rest)
    module.add_options(parser)
    return module, parser.parse()


def _overview_of(words: list[str]) -> str:
    """What ``imder --help``, ``imder GROUP --help`` and ``imder --version`` print; empty for everything else."""
    if words[:1] == ["--version"]:
        from importlib.metadata import version

        return f"imder {version('imder')}"
    if words[:1] in (["-h"], ["--help"]):
        return overview()
    if words[1:2] in (["-h"], ["--help"]) and group_members(words[0]):
        return overview(words[0])
    return ""


def _unreadable(error: OSError) -> int:
    if isinstance(error, BrokenPipeError):
        return 1
    return _refuse(f"{error.filename or 'cannot read or write'}: {error.strerror or error}")


def _refuse(message: str) -> int:
    with suppress(OSError):  # standard error may be on a full disk too
        print(f"imder: error: {one_line(message)}", file=sys.stderr)
    return MISTAKE


def _discard_output() -> None:
    """Send what is left of standard output nowhere; Python would try to write it once more when it ends."""
    with suppress(OSError, ValueError):  # a stream of a caller may have no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
