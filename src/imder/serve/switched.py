"""A live stream whose modalities can be switched off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from imder.serve.errors import Refusal

SWITCHABLE = ("language", "vision", "audio")


class LiveStream(Protocol):
    """What is used of `imder.media.stream.Stream`."""

    def push_audio(self, samples: Any, rate: int, time: float | None = None) -> None:
        """Add sound."""

    def push_frame(self, rgb: Any, time: float) -> None:
        """Add a picture."""

    def push_words(self, words: Any) -> None:
        """Add words."""

    def advance(self, time: float) -> None:
        """Let time pass."""

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

    def advance(self, time: float) -> None:
        """Let time pass."""
        self._stream.advance(time)

    def close(self, seconds: float | None = None, *, wait: bool = True) -> None:
        """End the stream."""
        self._stream.close(seconds, wait=wait)


def switched_off(value: Any) -> tuple[str, ...]:
    """Names of modalities, as a client sent them.

    Raises:
        Refusal: it is no list of such names.

    >>> switched_off(["vision"])
    ('vision',)
    """
    if not isinstance(value, list) or not all(isinstance(name, str) and name in SWITCHABLE for name in value):
        raise Refusal(422, f"modalities that fail: a list of {', '.join(SWITCHABLE)} is needed")
    return tuple(value)
