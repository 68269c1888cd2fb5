"""A live stream whose modalities can be switched off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from imder.serve.errors import Refusal
from imder.types import Spec

SWITCHABLE = ("language", "vision", "audio")
"""Modalities of every stream, whether the model knows them or not."""


class LiveStream(Protocol):
    """What is used of `imder.media.stream.Stream`."""

    def push_audio(self, samples: Any, rate: int, time: float | None = None) -> None:
        """Add sound."""

    def push_frame(self, rgb: Any, time: float) -> None:
        """Add a picture."""

    def push_words(self, words: Any) -> None:
        """Add words."""

    def push_features(
        self, modality: str, values: Any, times: Any, *, frame_seconds: float | None = None, end: float | None = None
    ) -> None:
        """Add features."""

    def advance(self, time: float) -> None:
        """Let time pass."""

    @property
    def problems(self) -> dict[str, int]:
        """What was left out, and how often."""
        ...

    def close(self, seconds: float | None = None, *, wait: bool = True) -> None:
        """End the stream."""


class SwitchedStream:
    """A stream that drops what comes for modalities that are switched off, so that they count as missing.

    Time passes with what is dropped. What came before a modality was switched off stays in the windows that hold it.
    """

    def __init__(self, stream: LiveStream, ignored: Sequence[str] = ()) -> None:
        self._stream = stream
        self._ignored = frozenset(ignored)

    def ignore(self, modalities: Sequence[str]) -> None:
        """Switch these modalities off and all others on."""
        self._ignored = frozenset(modalities)

    def push_audio(self, samples: Any, rate: int, time: float | None = None) -> None:
        """Add sound."""
        if "audio" not in self._ignored:
            self._stream.push_audio(samples, rate, time)
        elif time is not None:
            self._stream.advance(time)

    def push_frame(self, rgb: Any, time: float) -> None:
        """Add a picture."""
        if "vision" not in self._ignored:
            self._stream.push_frame(rgb, time)
        else:
            self._stream.advance(time)

    def push_words(self, words: Any) -> None:
        """Add words."""
        if "language" not in self._ignored:
            self._stream.push_words(words)

    def push_features(
        self, modality: str, values: NDArray[np.float32], times: NDArray[np.float64], frame_seconds: float, end: float
    ) -> None:
        """Add features."""
        if modality not in self._ignored:
            self._stream.push_features(modality, values, times, frame_seconds=frame_seconds, end=end)

    def advance(self, time: float) -> None:
        """Let time pass."""
        self._stream.advance(time)

    def close(self, seconds: float | None = None, *, wait: bool = True) -> None:
        """End the stream."""
        self._stream.close(seconds, wait=wait)


def switched_off(value: Any, spec: Spec) -> tuple[str, ...]:
    """Names of modalities, as a client sent them.

    Raises:
        Refusal: it is no list of such names.
    """
    names = dict.fromkeys((*SWITCHABLE, *spec.names))
    if not isinstance(value, list) or not all(isinstance(name, str) and name in names for name in value):
        raise Refusal(422, f"modalities that fail: a list of {', '.join(names)} is needed")
    return tuple(value)
