"""What is pushed into a stream, checked and copied."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imder.extract.cues import Cue
from imder.extract.decoded import Image


@dataclass(frozen=True)
class SoundEvent:
    """Mono samples ``(n,)``; time None continues the sound before; ``span``: seconds of the whole push."""

    time: float | None
    samples: NDArray[np.float32]
    rate: int
    span: float


@dataclass(frozen=True)
class FrameEvent:
    """An image ``(H, W, 3)`` and its time in seconds."""

    time: float
    image: Image


@dataclass(frozen=True)
class WordsEvent:
    """Words with their times."""

    cues: tuple[Cue, ...]


@dataclass(frozen=True)
class FeaturesEvent:
    """Frames ``(T, D)`` of a modality at times ``(T,)``, all that there are of ``start`` to ``end`` seconds."""

    modality: str
    times: NDArray[np.float64]
    values: NDArray[np.float32]
    frame_seconds: float
    start: float
    end: float
    span: float


@dataclass(frozen=True)
class TimeEvent:
    """Time has passed, with or without data."""

    time: float


Event = SoundEvent | FrameEvent | WordsEvent | FeaturesEvent | TimeEvent
