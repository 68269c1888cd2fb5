"""The time of a stream: which pieces count, and when a window is complete.

Time is the latest end of any piece. A window is complete once every live source has passed its end; a source that lags behind
by more than a tolerance is no longer waited for. A piece that lies ahead of the stream's time is held until others follow it or
the stream catches up, so that one wrong time moves nothing.
"""

from __future__ import annotations

import bisect
import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from imder.media.windows import MAX_REST

CLOSE = 1e-6
"""Seconds of tolerance in comparisons of times, which are rounded in files and messages."""
LEAST_AHEAD = 0.5
"""Least seconds by which a piece must be ahead of the stream to be held."""
LONGEST_GAP = 60.0
"""Windows without any data are left out if they are within a gap longer than so many seconds."""
MOST_HELD = 1000
"""Most pieces of a source that are held."""

Bounds = tuple[int, float, float]
"""The number, the start and the end of a window in seconds."""


@dataclass(frozen=True)
class Piece:
    """A part of a source.

    Attributes:
        source: its name.
        start, end: in seconds.
        data: what it holds.
        span: seconds of the push that it was part of.
        slack: seconds that may lie between this piece and the one before it in a source without a gap.
    """

    source: str
    start: float
    end: float
    data: Any = None
    span: float = 0.0
    slack: float = 0.05


class Clock:
    """Order of pieces and windows.

    Args:
        window: length of a window in seconds.
        hop: seconds from the start of a window to that of the next.
        tolerance: seconds by which sources may lag behind each other.

    Attributes:
        now: the stream's time.
        ends: for each source, the time up to which it came without a gap, but for gaps older than the tolerance.
        index: the number of the next window.

    >>> clock = Clock(2.0, 1.0, 0.5)
    >>> clock.accept(Piece("audio", 0.0, 2.0)), list(clock.complete())
    ([Piece(source='audio', start=0.0, end=2.0, data=None, span=0.0, slack=0.05)], [(0, 0.0, 2.0)])
    """

    def __init__(self, window: float, hop: float, tolerance: float) -> None:
        self.window, self.hop, self.tolerance = window, hop, tolerance
        self.now = 0.0
        self.ends: dict[str, float] = {}
        self.index = 0
        self.last_end = 0.0
        self._spans: dict[str, float] = {}
        self._slacks: dict[str, float] = {}
        self._later: dict[str, list[tuple[float, float]]] = {}  # parts of a source beyond a gap, in order
        self._held: dict[str, list[Piece]] = {}
        self._gaps: list[tuple[float, float]] = []

    @property
    def begin(self) -> float:
        """The start of the next window."""
        return self.index * self.hop

    @property
    def needed(self) -> float:
        """The time before which pieces are too late."""
        return min(self.begin, self.last_end) if self.index else 0.0

    def accept(self, piece: Piece) -> list[Piece] | None:
        """The pieces that count from now on: this one, held ones, or none yet; None for a piece that came too late."""
        if piece.end <= self.needed + CLOSE:
            return None
        accepted: list[Piece] = []
        held = self._held.pop(piece.source, [])
        if held and held[0].start <= self._reach:  # other sources have caught up
            accepted, held = held, []
            self._advance_all(accepted)
        if piece.start <= self._reach:
            held = [piece]  # whatever was held had a wrong time
        else:
            follows = held and held[0].start <= piece.start <= held[-1].end + self.tolerance + piece.span
            held = [*held[-MOST_HELD:], piece] if follows else [piece]
            if len(held) < 2 or piece.end - held[0].start < self.tolerance:
                self._held[piece.source] = held
                return accepted
        self._advance_all(held)
        return accepted + held

    @property
    def _reach(self) -> float:
        """The time up to which pieces may start."""
        return self.now + max(self.tolerance, LEAST_AHEAD)

    def _advance_all(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            self._advance(piece)

    def advance(self, time: float) -> None:
        """Let time pass without data."""
        self._advance(Piece("", time, time))

    def note(self, source: str, end: float) -> None:
        """A source that doesn't move time has come to ``end``; windows wait for it within the tolerance."""
        self.ends[source] = max(end, self.ends.get(source, 0.0))

    def _advance(self, piece: Piece) -> None:
        if piece.start - self.now > LONGEST_GAP:
            self._gaps.append((self.now, piece.start))
        self.now = max(self.now, piece.end)
        if name := piece.source:
            self.ends.setdefault(name, piece.end)
            self._spans[name], self._slacks[name] = min(piece.span, self.window), piece.slack
            later = self._later.setdefault(name, [])
            bisect.insort(later, (piece.start, piece.end))
            del later[:-MOST_HELD]
            self._join(name)

    def _join(self, name: str) -> None:
        """Move the end of a source over the parts that follow it, and over gaps that are older than the tolerance."""
        later, used = self._later.get(name, []), 0
        for start, end in later:
            reach = self.ends[name] + self._slacks[name]
            if start > reach and self.ends[name] + self.tolerance + self._spans[name] > self.now + CLOSE:
                break
            self.ends[name], used = max(self.ends[name], end), used + 1
        del later[:used]

    @property
    def waits(self) -> bool:
        """Whether a window has passed that a source holds back."""
        return self.begin + self.window <= self.now + CLOSE

    def complete(self, *, at_once: bool = False) -> Iterator[Bounds]:
        """The windows that are complete, each once; ``at_once`` waits for no source that lags behind."""
        while self.waits:
            start, end = self.begin, self.begin + self.window
            gap = next((g for g in self._gaps if g[0] <= start + CLOSE and end <= g[1] + CLOSE), None)
            if gap is not None:
                self._gaps.remove(gap)
                self.index = max(self.index + 1, math.floor((gap[1] - self.window) / self.hop + CLOSE) + 1)
                continue
            if not at_once and any(self._lags(name, end) for name in self.ends):
                return
            self.index, self.last_end = self.index + 1, end
            self._gaps = [g for g in self._gaps if g[1] > start]
            yield self.index - 1, start, end

    def _lags(self, name: str, end: float) -> bool:
        """Whether a source hasn't passed the end of a window and is near enough to be waited for."""
        self._join(name)
        passed = self.ends[name]
        return passed < end - CLOSE and passed + self.tolerance + self._spans.get(name, 0.0) > self.now + CLOSE

    def finish(self, seconds: float) -> Iterator[Bounds]:
        """The last windows of a stream that ends at ``seconds``, as `imder.media.windows.window_bounds` has them."""
        self.now = seconds
        yield from self.complete(at_once=True)
        if self.last_end == 0 and 0 < seconds < self.window:
            yield self.index, 0.0, seconds
        elif self.last_end > 0 and seconds - self.last_end > MAX_REST:
            yield self.index, seconds - self.window, seconds


def as_seconds(time: Any) -> float | None:
    """A time of at least 0 as a float; None for anything else."""
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        value = float(time)
        return value if 0 <= value < float("inf") else None
    return None
