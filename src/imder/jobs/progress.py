"""Progress on standard error: a bar on a terminal, lines elsewhere. The library itself prints nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from imder.jobs.background import repeating

LINE_SECONDS = 30.0
"""Seconds between two lines where standard error isn't a terminal."""


class Report(Protocol):
    """Called with how far the work is."""

    def __call__(self, done: float, total: float | None, note: str = "", left: float | None = None) -> None:
        """Show ``done`` of ``total`` (None where nobody knows), a note, and the seconds left, by default in proportion."""
        ...


class Display:
    """The progress of one piece of work, from `start` to `finish`.

    Args:
        title: what is done, a word or two.
        each: off a terminal, print a line whenever one more is done, not only every `LINE_SECONDS`.
        counts: show "done/total"; False where the note says it.
        at_most: work may end early, so the time left is an upper bound.
        console: where it is shown; standard error by default.
    """

    def __init__(
        self,
        title: str,
        *,
        each: bool = False,
        counts: bool = True,
        at_most: bool = False,
        console: Console | None = None,
    ) -> None:
        self._title = title
        self._each = each
        self._counts = counts
        self._at_most = at_most
        self._console = console or Console(file=sys.stderr)
        self._done, self._note = 0.0, ""
        self._total: float | None = None
        self._left: float | None = None
        self._first, self._begun = 0.0, 0.0
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._open: ExitStack | None = None

    def update(self, done: float, total: float | None, note: str = "", left: float | None = None) -> None:
        """Show how far the work is; the first call starts the display, so that a refusal has no bar above it."""
        if self._open is None:
            self._start(done)
        more = int(done) > int(self._done)
        self._done, self._total, self._note = done, total, note
        self._left = left if left is not None else self._estimate()
        if self._bar is not None:
            time_left = self._time_left()
            self._bar.update(self._task, completed=done, total=total, text=self._fitting(time_left), left=time_left)
        elif more and self._each:
            self._print()

    def finish(self) -> None:
        """Show that the work is done."""
        if self._open is None:
            return
        if self._bar is not None:
            took = _duration(time.monotonic() - self._begun)
            self._bar.update(self._task, completed=self._total, text=self._fitting(took), left=f"in {took}")
        self._stop()
        if self._bar is None and not (self._each and self._done):
            self._print(over=True)

    def close(self) -> None:
        """Remove the bar of work that failed or was interrupted."""
        if self._bar is not None:
            self._bar.live.transient = True
        self._stop()

    def _stop(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _start(self, done: float) -> None:
        self._open = ExitStack()
        self._first, self._begun, self._done = done, time.monotonic(), done
        if not self._console.is_terminal:
            self._open.enter_context(repeating(self._print, LINE_SECONDS))
            return
        self._bar = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[text]}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[left]}", table_column=Column(no_wrap=True)),
            console=self._console,
            refresh_per_second=4,
            expand=True,
        )
        self._task = self._bar.add_task(self._title, total=None, text="", left="")
        self._open.enter_context(self._bar)

    def _estimate(self) -> float | None:
        done = self._done - self._first
        if self._total is None or done <= 0:
            return None
        return (time.monotonic() - self._begun) / done * max(0.0, self._total - self._done)

    def _text(self) -> str:
        total = "" if self._total is None else f"/{self._total:.0f}"
        return "  ".join(
            [*([f"{self._done:.0f}{total}"] if self._counts else []), *([self._note] if self._note else [])]
        )

    def _fitting(self, left: str) -> str:
        """The text, cut where it, the title, a bar of 4 columns and the time left would not fit the terminal."""
        space = self._console.width - len(self._title) - len(left) - 7
        text = self._text()
        return text if len(text) <= space else f"{text[: max(0, space - 1)]}…"

    def _time_left(self) -> str:
        return "" if self._left is None else f"{'≤ ' if self._at_most else ''}{_duration(self._left)} left"

    def _print(self, over: bool = False) -> None:
        parts = [self._text(), f"{_duration(time.monotonic() - self._begun)} elapsed"]
        if not over and self._left:
            parts.append(self._time_left())
        print(f"{self._title}: {', '.join(part for part in parts if part)}", file=self._console.file, flush=True)


@contextmanager
def counting(title: str, *, each: bool = False, console: Console | None = None) -> Iterator[Report]:
    """Progress of anything that reports how much of how many is done."""
    display = Display(title, each=each, console=console)
    try:
        yield display.update
        display.finish()
    finally:
        display.close()


def _duration(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> _duration(3725), _duration(65)
    ('1:02:05', '1:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
