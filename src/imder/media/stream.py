"""A live stream: sound, frames, words or features are pushed from any threads, and predictions of windows come out.

Pushes only check, copy and queue. One thread of the stream does the work: it puts pieces in the order of their times, extracts
features and predicts a window as soon as all sources have passed its end (`imder.media.live`). Sources that stop, stutter, jump
or send rubbish are missing modalities of the windows concerned; `Stream.problems` counts what was left out.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any, Self

from imder.extract.recipe import Recipe
from imder.inference.options import PredictOptions
from imder.media.answer import answer
from imder.media.live.clock import as_seconds
from imder.media.live.engine import Engine, StreamOptions
from imder.media.live.events import Event, FeaturesEvent, FrameEvent, SoundEvent, TimeEvent, WordsEvent
from imder.media.live.faces import as_image
from imder.media.live.features import as_frames
from imder.media.live.inbox import Inbox
from imder.media.live.sound import as_mono
from imder.media.live.words import as_cue
from imder.models.base import Model
from imder.types import ImderError

Answer = dict[str, Any]
"""A prediction as `imder.media.answer.answer` returns it."""

MOST_ROWS = 4096
"""Predictions that wait for the iterator; older ones are dropped."""
MOST_PROBLEMS = 100
"""Different descriptions of what was left out."""
PIECE = 0.25
"""Seconds of a piece: longer pushes are taken in one piece after the other."""
LONGEST_PUSH = 60.0
"""Seconds of features in one push."""
_LIMITS = {"audio": 60 * 384_000, "vision": 256 << 20, "words": 40_000, "features": 4_000_000, "time": 100_000}
"""Samples, bytes of frames, words, values and times that may wait for the stream's thread."""


class Stream:
    """Predictions of a live stream; `imder.Predictor.stream` makes one.

    Use it as a context manager, or call `close`: its thread ends then. Iterate over it for predictions, or give a callback.

    Args:
        model: a trained system.
        recipe: the recipe of its features; None if it reads features alone.
        options: how the stream is cut into windows.
        predict_options: options of the predictions.
        callback: called with each prediction, in the stream's thread, instead of the iterator.
        block: whether pushes wait while the stream's thread is behind, as data from files should, and nothing depends on the
            real time; otherwise what can't be processed in time is dropped.

    Raises:
        ImderError: a model of the recipe can't be loaded.
    """

    def __init__(
        self,
        model: Model,
        recipe: Recipe | None,
        options: StreamOptions,
        predict_options: PredictOptions,
        callback: Callable[[Answer], object] | None = None,
        *,
        block: bool = False,
    ) -> None:
        self._spec = model.spec
        self._changed = threading.Condition()
        self._problems: Counter[str] = Counter()
        self._engine = Engine(model, recipe, options, predict_options, self._left_out)
        self._inbox = Inbox[Event](_LIMITS, block)
        self._patience = None if block else options.tolerance
        self._reads_tokens = model.language is not None
        self._callback = callback
        self._rows: deque[Answer] = deque()
        self._is_finished = False
        self._failure: Exception | None = None
        self._seconds: float | None = None
        self._thread = threading.Thread(target=self._work, name="imder-stream", daemon=True)
        self._thread.start()

    # Pushes.

    def push_audio(self, samples: Any, rate: int, time: float | None = None) -> None:
        """Add sound.

        Args:
            samples: ``(n,)`` or ``(n, channels)``: floats in about [-1, 1], or signed integers.
            rate: samples per second.
            time: of the first sample, in seconds of the stream; None to continue the sound before.
        """
        mono = as_mono(samples, rate)
        if mono is None or ((start := as_seconds(time)) is None and time is not None):
            self._left_out("audio: not finite sound (n,) or (n, channels) with its rate and time")
            return
        size, span = max(1, int(PIECE * rate)), len(mono) / rate
        for first in range(0, len(mono), size):
            piece = mono[first : first + size]
            at = None if start is None else start + first / rate
            self._put("audio", len(piece), SoundEvent(at, piece, int(rate), span), "audio")

    def push_frame(self, rgb: Any, time: float) -> None:
        """Add a frame of the camera.

        Args:
            rgb: ``(H, W, 3)`` of 8 bits.
            time: in seconds of the stream.
        """
        image, at = as_image(rgb), as_seconds(time)
        if image is None or at is None:
            self._left_out("vision: not an RGB image (H, W, 3) of 8 bits with its time")
        else:
            self._put("vision", image.nbytes, FrameEvent(at, image), "vision")

    def push_words(self, words: Any) -> None:
        """Add words, in any order. Windows wait for them within the tolerance, but words alone don't make time pass.

        Args:
            words: a sequence of mappings with ``text``, ``start`` and ``end`` (seconds of the stream), or of
                `imder.extract.cues.Cue`.
        """
        try:
            cues = [as_cue(word) for word in words]
        except TypeError:
            cues = [None]
        for _ in range(cues.count(None)):
            self._left_out("language: not a word with text, start and end")
        if good := tuple(cue for cue in cues if cue is not None):
            self._put("words", len(good), WordsEvent(good), "language")

    def push_features(
        self, modality: str, values: Any, times: Any, *, frame_seconds: float | None = None, end: float | None = None
    ) -> None:
        """Add features of a modality that were made elsewhere, by the recipe of the system's training: at most a minute at once.

        Args:
            modality: its name.
            values: ``(T, D)``, may be empty.
            times: ``(T,)`` ascending, in seconds of the stream.
            frame_seconds: length of a frame; None for the mean interval.
            end: the time up to which these are all frames; None for the end of the last frame.
        """
        dims = {m.name: m.dim for m in self._spec.modalities}
        if modality not in dims or (modality == "language" and self._reads_tokens):
            self._left_out(f"features: the system reads none of {str(modality)[:40]!r}")
            return
        frames = as_frames(values, times, dims[modality])
        length, stop = as_seconds(frame_seconds), as_seconds(end)
        is_wrong = (length is None and frame_seconds is not None) or (stop is None and end is not None)
        if frames is None or is_wrong or (not len(frames[0]) and stop is None):
            self._left_out(f"{modality}: not finite features (T, {dims[modality]}) with ascending times (T,)")
            return
        when, rows = frames
        if length is None:
            length = float((when[-1] - when[0]) / (len(when) - 1)) if len(when) > 1 else 0.0
        start = float(when[0]) if len(when) else float(stop or 0.0)
        stop = float(when[-1]) + length if stop is None else max(stop, start)
        if stop - start > LONGEST_PUSH:
            self._left_out(f"{modality}: features of more than {LONGEST_PUSH:g} s at once")
            return
        first, begin = 0, start
        while True:
            until = min(begin + PIECE, stop)
            last = len(when) if until >= stop else int(when.searchsorted(until))
            piece = FeaturesEvent(modality, when[first:last], rows[first:last], length, begin, until, stop - start)
            self._put("features", max(1, rows[first:last].size), piece, modality)
            if until >= stop:
                return
            first, begin = last, until

    def advance(self, time: float) -> None:
        """Tell that the stream has come to ``time`` seconds, as where all sources are silent."""
        at = as_seconds(time)
        if at is None:
            self._left_out("time: not a number of seconds from 0")
        else:
            self._put("time", 1, TimeEvent(at), "time")

    def _put(self, kind: str, size: int, event: Event, name: str) -> None:
        if not self._inbox.put(kind, size, event):
            self._left_out(f"{name}: dropped, since predictions take longer than the stream or it is closed")

    def _left_out(self, problem: str) -> None:
        with self._changed:
            if problem in self._problems or len(self._problems) < MOST_PROBLEMS:
                self._problems[problem] += 1

    # Predictions.

    def __iter__(self) -> Iterator[Answer]:
        """Predictions in order, as they come, until the stream is closed and all are out.

        Raises:
            ImderError: the stream has a callback, or the system failed.
        """
        if self._callback is not None:
            raise ImderError("the stream's predictions go to its callback; leave that out to iterate over them")
        while True:
            with self._changed:
                while not self._rows and not self._is_finished:
                    self._changed.wait()
                if not self._rows:
                    break
                row = self._rows.popleft()
            yield row
        self._raise_failure()

    def ready(self) -> list[Answer]:
        """The predictions that are out and were not taken yet, without waiting."""
        with self._changed:
            rows = list(self._rows)
            self._rows.clear()
        return rows

    @property
    def problems(self) -> dict[str, int]:
        """How often something was left out, by a description that begins with its modality."""
        with self._changed:
            return dict(self._problems)

    @property
    def fps(self) -> int | None:
        """Most frames a second that count: a camera needs no more; None if frames aren't read."""
        return self._engine.fps

    def why_unread(self, modality: str) -> str:
        """Why sound (``audio``), frames (``vision``) or words (``language``) are not read; empty if they are."""
        return self._engine.why_unread(modality)

    @property
    def held(self) -> int:
        """Number of samples, frames, words and windows in the stream's buffers."""
        return self._engine.size

    def close(self, seconds: float | None = None, *, wait: bool = True) -> None:
        """End the stream: pushes have no effect from now on, and the windows that are left are predicted.

        Args:
            seconds: the stream's length; None for that of its data.
            wait: whether to wait until all predictions are out.

        Raises:
            ImderError: the system failed.
        """
        with self._changed:
            self._seconds = self._seconds if seconds is None else as_seconds(seconds)
        self._inbox.close()
        if wait and threading.current_thread() is not self._thread:
            self._thread.join()
            self._raise_failure()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise ImderError(f"the stream ended: {type(self._failure).__name__}: {self._failure}") from self._failure

    def _work(self) -> None:
        """The stream's thread."""
        try:
            while not self._inbox.is_done:
                event = self._inbox.get(self._patience if self._engine.waits else None)
                if event is not None:
                    self._give(self._engine.handle(event))
                elif not self._inbox.is_done:
                    self._give(self._engine.release())
            self._give(self._engine.finish(self._seconds))
        except Exception as error:  # told to whoever iterates or closes
            self._failure = error
            self._inbox.close()
        finally:
            with self._changed:
                self._is_finished = True
                self._changed.notify_all()

    def _give(self, rows: Iterator[dict[str, Any]]) -> None:
        for columns in rows:
            row = answer(columns, self._spec)
            if self._callback is not None:
                try:
                    self._callback(row)
                except Exception as error:  # of the user's; later predictions go on
                    self._left_out(f"callback: {type(error).__name__}: {error}"[:200])
                continue
            with self._changed:
                self._rows.append(row)
                if len(self._rows) > MOST_ROWS:
                    self._rows.popleft()
                    self._problems["predictions: dropped, since nobody took them"] += 1
                self._changed.notify_all()
