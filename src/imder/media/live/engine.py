"""A stream in one thread: events in, predictions of windows out. The same events in the same order give the same predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imder.extract.extractors import parts_of
from imder.extract.manifest import Clip
from imder.extract.recipe import AudioRecipe, FaceRecipe, Recipe
from imder.inference.options import PredictOptions
from imder.inference.predict import Row
from imder.media.clips import ExtractedClip
from imder.media.live.clock import Bounds, Clock, Piece
from imder.media.live.events import Event, FeaturesEvent, FrameEvent, SoundEvent, TimeEvent, WordsEvent
from imder.media.live.faces import FaceBuffer
from imder.media.live.features import FeatureBuffer
from imder.media.live.sound import SoundBuffer, features_of
from imder.media.live.window import WindowPredictor
from imder.media.live.words import WordBuffer
from imder.media.windows import check_min_coverage
from imder.models.base import Model
from imder.types import ImderError

_FURTHEST = 1e9  # seconds: no stream has come so far

Features = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class StreamOptions:
    """How a stream is cut into windows.

    Attributes:
        window: length of a window in seconds.
        hop: seconds from the start of a window to that of the next.
        tolerance: seconds by which sources may lag behind each other; what comes later is missing.
        min_coverage: share of a window that a modality must cover to count as available, in [0, 1].
        name: the stream's id, which determines the noise of recoveries.

    Raises:
        ImderError: a number is out of range.
    """

    window: float
    hop: float
    tolerance: float
    min_coverage: float
    name: str

    def __post_init__(self) -> None:
        for name, value, least in (("window", self.window, 0.1), ("hop", self.hop, 0.05)):
            if not least <= value <= 3600:
                raise ImderError(f"{name}: a number of seconds from {least:g} to 3600 is needed, got {value:g}")
        if not 0 <= self.tolerance <= 60:
            raise ImderError(f"tolerance: a number of seconds from 0 to 60 is needed, got {self.tolerance:g}")
        check_min_coverage(self.min_coverage)

    @property
    def kept(self) -> float:
        """Seconds of data that are kept at most: windows wait for sources that lag."""
        return 2 * self.window + self.hop + 2 * self.tolerance + 2


class Engine:
    """Buffers for each source, and the windows' predictions.

    Args:
        model: a trained system.
        recipe: the recipe of its features; None if it reads features alone.
        options: how the stream is cut.
        predict_options: options of the predictions.
        note: called with a description of anything that is left out.

    Raises:
        ImderError: a model of the recipe can't be loaded.
    """

    def __init__(
        self,
        model: Model,
        recipe: Recipe | None,
        options: StreamOptions,
        predict_options: PredictOptions,
        note: Callable[[str], None],
    ) -> None:
        self._options, self._note = options, note
        self._names = model.spec.names
        self._extractors = {} if recipe is None else parts_of(recipe)
        self._refused = dict.fromkeys(() if recipe is None else recipe.by_speaker, "standardised by speaker")
        self._clock = Clock(options.window, options.hop, options.tolerance)
        self._sound: SoundBuffer | None = SoundBuffer(options.kept) if self._reads("audio") else None
        self._words = WordBuffer(recipe, options.name) if recipe is not None and self._reads("language") else None
        vision = None if recipe is None else recipe.vision
        self._faces: FaceBuffer | None = None
        if isinstance(vision, FaceRecipe) and self._reads("vision"):
            self._faces = FaceBuffer(vision, options.kept)
        self._features: dict[str, FeatureBuffer] = {}
        self._predict = WindowPredictor(
            model, predict_options, options.name, {} if recipe is None else recipe.dims, note
        )

    def _reads(self, name: str) -> bool:
        return name in self._names and name in self._extractors and name not in self._refused

    @property
    def size(self) -> int:
        """Number of samples, faces, frames, words and windows that are kept."""
        buffers = (self._sound, self._words, self._faces, *self._features.values(), self._predict)
        return sum(buffer.size for buffer in buffers if buffer is not None)

    @property
    def fps(self) -> int | None:
        """Most frames a second that count; None if frames aren't read."""
        return None if self._faces is None else self._faces.fps

    @property
    def waits(self) -> bool:
        """Whether a window is held back by a source that lags."""
        return self._clock.waits

    def handle(self, event: Event) -> Iterator[Row]:
        """Take in an event, and predict the windows that it completes."""
        match event:
            case SoundEvent():
                self._take_sound(event)
            case FrameEvent():
                self._take_frame(event)
            case FeaturesEvent():
                self._take_features(event)
            case WordsEvent():
                self._take_words(event)
            case TimeEvent() if 0 <= event.time <= _FURTHEST:
                self._clock.advance(event.time)
            case _:
                self._note("time: not a number of seconds from 0")
        yield from map(self._row, self._clock.complete())

    def release(self) -> Iterator[Row]:
        """Predict the windows that wait for a source that lags."""
        yield from map(self._row, self._clock.complete(at_once=True))

    def finish(self, seconds: float | None) -> Iterator[Row]:
        """Predict what is left when the stream ends; ``seconds``: its length, None for that of its data."""
        if seconds is None:
            seconds = self._clock.now or self._clock.ends.get("words", 0.0)
            if self._faces is not None and seconds == self._clock.ends.get("vision"):
                seconds += self._faces.frame_seconds
        for bounds in self._clock.finish(seconds):
            yield self._row(bounds, last=bounds[2] >= seconds)

    def _accept(self, piece: Piece) -> list[Piece]:
        """The pieces that count now; remarks on those that don't."""
        if not (math.isfinite(piece.start) and 0 <= piece.end <= _FURTHEST):
            self._note(f"{piece.source}: a time that is no number of seconds from 0")
            return []
        pieces = self._clock.accept(piece)
        if pieces is None:
            self._note(f"{piece.source}: came too late")
        return pieces or []

    def _take_sound(self, event: SoundEvent) -> None:
        if self._sound is None:
            self._unread("audio", "sound")
            return
        seconds = len(event.samples) / event.rate
        start = event.time
        if start is None:
            start = self._clock.ends.get("audio", max(0.0, self._clock.now - seconds))
            if start + seconds + self._options.tolerance + event.span < self._clock.now:
                start = self._clock.now - seconds
        piece = Piece("audio", start, start + seconds, event, event.span, min(0.05, seconds / 2))
        for each in self._accept(piece):
            self._sound.put(each.start, each.data.samples, each.data.rate)

    def _take_frame(self, event: FrameEvent) -> None:
        if self._faces is None:
            self._unread("vision", "frames")
            return
        slack = 1.5 * self._faces.frame_seconds
        for each in self._accept(Piece("vision", event.time, event.time, event, slack=slack)):
            if not self._faces.put(each.start, each.data.image):
                self._note("vision: came too late")
        self._faces.track(self._clock.now - self._options.tolerance)

    def _take_features(self, event: FeaturesEvent) -> None:
        piece = Piece(event.modality, event.start, event.end, event, event.span)
        for each in self._accept(piece):
            if len(each.data.times):
                buffer = self._features.setdefault(event.modality, FeatureBuffer(self._options.kept))
                buffer.put(each.data.times, each.data.values, each.data.frame_seconds)

    def _take_words(self, event: WordsEvent) -> None:
        if self._words is None:
            self._unread("language", "words")
            return
        for cue in event.cues:
            if not 0 < cue.end <= _FURTHEST:
                self._note("language: a time that is no number of seconds from 0")
            elif cue.end <= self._clock.needed:
                self._note("language: came too late")
            elif self._words.put(cue):
                self._clock.note("words", cue.end)
            else:
                self._note("language: too many words at once")

    def why_unread(self, name: str) -> str:
        """Why sound, frames or words of a modality are not read; empty if they are."""
        if {"audio": self._sound, "vision": self._faces, "language": self._words}[name] is not None:
            return ""
        if name in self._refused:
            return self._refused[name]
        if name not in self._names:
            return f"the run reads {', '.join(self._names)}"
        if name in self._extractors:
            return "the run reads columns of OpenFace, which come from its tables or its program alone"
        return f"the run's features of {name} were not made by `imder extract`"

    def _unread(self, name: str, what: str) -> None:
        self._note(f"{name}: {what} can't be read ({self.why_unread(name)})")

    def _row(self, bounds: Bounds, last: bool = False) -> Row:
        """The prediction of a window; then data before it are let go (the last window may overlap it)."""
        number, start, end = bounds
        features, shares = self._cut(start, end, last)
        language = self._language(start, end)
        features |= {name: values for name, values in language.features.items() if name in self._names}
        row: Row = {"start": start, "end": end}
        row |= self._predict(number, features, language.tokens, language.text) if features else {"available": ""}
        row |= {f"share_{name}": round(share, 3) for name, share in shares.items()}
        for buffer in (self._sound, self._words, self._faces, *self._features.values()):
            if buffer is not None:
                buffer.forget(start)
        return row

    def _cut(self, start: float, end: float, last: bool) -> tuple[Features, dict[str, float]]:
        """Features of a window, of the modalities that cover enough of it, and the shares that they cover."""
        cut: dict[str, tuple[NDArray[np.float32] | None, float]] = {}
        if self._sound is not None:
            cut["audio"] = self._sound_features(start, end)
        if self._faces is not None:
            self._faces.track(end)
            cut["vision"] = self._faces.cut(start, end, last=last)
        for name, buffer in self._features.items():
            values, share = buffer.cut(start, end, last=last)
            if values is not None or name not in cut:
                cut[name] = values, share
        features = {
            name: values
            for name, (values, share) in cut.items()
            if values is not None and share >= self._options.min_coverage
        }
        return features, {name: share for name, (_, share) in cut.items()}

    def _sound_features(self, start: float, end: float) -> tuple[NDArray[np.float32] | None, float]:
        assert self._sound is not None
        sound = self._sound.cut(start, end)
        if sound is None:
            return None, 0.0
        extractor, part = self._extractors["audio"]
        assert isinstance(part, AudioRecipe)
        try:
            return features_of(sound, extractor, part)
        except Exception as error:  # a window that an extractor can't read lacks sound
            self._note(f"audio: {' '.join(str(error).split())[:200] or type(error).__name__}")
            return None, 0.0

    def _language(self, start: float, end: float) -> ExtractedClip:
        if self._words is None:
            return ExtractedClip(Clip(self._options.name), {})
        language, failure = self._words.cut(start, end)
        if failure:
            self._note(f"language: {failure}")
        return language
