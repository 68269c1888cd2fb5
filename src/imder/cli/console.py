"""What the commands print on standard output."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from imder.one_line import harmless

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PARTLY = 3
"""Exit code of a command that finished with failures: some clips or cells could not be used."""

SHOWN = 5
"""So many failures are printed; all of them are in a file."""


@cache
def console() -> Console:
    """Standard output, 80 columns wide where it isn't a terminal; control characters of a text are escaped."""
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment

    class HarmlessConsole(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else segment._replace(text=harmless(segment.text))

    return HarmlessConsole()


def say(text: str) -> None:
    """Print lines, wrapped between words on a terminal; a file or pipe gets them as they are."""
    from rich.text import Text

    console().print(Text(text), soft_wrap=not console().is_terminal)


def say_all(lines: Iterable[str]) -> None:
    """Print each line."""
    for line in lines:
        say(line)


def say_command(*words: str) -> None:
    """Print a command to type, in one line and quoted where a shell needs it."""
    print(f"  {harmless(shlex.join(words))}")


def show(table: RenderableType) -> None:
    """Print a table."""
    console().print(table)


def width() -> int:
    """Columns of the terminal."""
    return console().width


def counted(number: int, noun: str) -> str:
    """A number and its noun.

    >>> counted(1, "clip"), counted(3, "clip")
    ('1 clip', '3 clips')
    """
    return f"{number} {noun}{'s' * (number != 1)}"


def shown_failures(failures: Iterable[tuple[str, str, str]], file: str, advice: str = "") -> list[str]:
    """Lines for the first of the failures (sample, modality, reason), and where all of them are."""
    rows = list(failures)
    lines = [f"failed: {sample}: {name}: {reason}" for sample, name, reason in rows[:SHOWN]]
    if rows:
        more = f"and {len(rows) - SHOWN} more; " if len(rows) > SHOWN else ""
        lines.append(f"{more}{counted(len(rows), 'failure')} in {file}{advice and '; '}{advice}")
    return lines
