"""Decoded media: sound and frames as arrays, for clips that aren't files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.types import ImderError

Image = NDArray[np.uint8]
"""A picture ``(H, W, 3)``: red, green, blue."""

_CHUNK = 1 << 18  # samples handed on at a time
_MAX_LEVEL = 100.0  # floats beyond are numbers of another format: full scale is 1
_FRAME_SECONDS = 1 / 25  # of a single frame


@dataclass(frozen=True, eq=False)
class DecodedSound:
    """Sound in memory.

    Args:
        samples: ``(n,)`` or ``(n, channels)``: floats in about [-1, 1], or signed integers, whose full scale is 1.
        rate: samples per second.
        gaps: (start, end) in seconds of silence that stands where there is no sound.

    Raises:
        ImderError: the array or the rate isn't one of sound.

    >>> DecodedSound(np.zeros(16000), 16000).samples.shape
    (16000, 1)
    """

    samples: NDArray[Any]
    rate: int
    gaps: list[tuple[float, float]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        samples = np.asarray(self.samples)
        if not isinstance(self.rate, int | np.integer) or isinstance(self.rate, bool) or self.rate < 1:
            raise ImderError(f"audio: the rate is a whole number of samples per second, got {self.rate!r}")
        if samples.ndim not in (1, 2) or samples.dtype.kind not in "fi":
            raise ImderError(
                f"audio: samples are floats or signed integers, (n,) or (n, channels), got {samples.dtype} {samples.shape}"
            )
        samples = samples if samples.ndim == 2 else samples[:, None]
        if 0 < len(samples) < samples.shape[1]:
            raise ImderError(f"audio: samples are (n, channels), got {samples.shape}; transpose the array")
        if samples.dtype.kind == "f" and samples.size and (level := np.abs(samples).max()) > _MAX_LEVEL:
            raise ImderError(
                f"audio: floats are in about [-1, 1], got values up to {level:g}; divide by the full scale"
            )
        object.__setattr__(self, "samples", samples)

    def __str__(self) -> str:
        return "audio"

    def pieces(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Mono pieces, as (rate, ``(n,)`` samples)."""
        scale = 1.0 if self.samples.dtype.kind == "f" else 1.0 / -float(np.iinfo(self.samples.dtype).min)
        for start in range(0, len(self.samples), _CHUNK):
            piece = (self.samples[start : start + _CHUNK] * scale).astype(np.float32)
            yield int(self.rate), piece.mean(axis=1, dtype=np.float32)


@dataclass(eq=False)
class DecodedFrames:
    """The picture of a video in memory, or from a generator; one frame is needed at a time.

    Args:
        source: an iterable of (seconds, `Image`) in order of time, or a pair of arrays: ``(T,)`` seconds and
            ``(T, H, W, 3)`` images.

    Attributes:
        has_picture: True, as for a video that has one.
        seconds: the end of the last frame; known when the frames have been iterated.
        remarks: none.

    Raises:
        ImderError: ``source`` is neither.

    >>> frames = DecodedFrames((np.array([0.0, 0.1]), np.zeros((2, 8, 8, 3), np.uint8)))
    >>> len([image() for _, image in frames.frames()]), round(frames.seconds, 3)
    (2, 0.2)
    """

    source: Iterable[tuple[float, Image]] | tuple[NDArray[Any], Image]
    has_picture: bool = field(default=True, init=False)
    seconds: float = field(default=0.0, init=False)
    remarks: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.source, Iterable):
            raise ImderError(f"frames: an iterable of (seconds, RGB array) is needed, got {self.source!r}")

    def __str__(self) -> str:
        return "frames"

    def frames(self) -> Iterator[tuple[float, Callable[[], Image]]]:
        """Times in seconds, and functions that return the image ``(H, W, 3)``.

        Raises:
            ImderError: a frame is no image with its time, times don't ascend, or there are no frames.
        """
        first = last = None
        count = 0
        for time, image in self._pairs():
            if last is not None and time <= last:
                raise ImderError(f"frames: frame {count} is at {time:g} s, after one at {last:g} s; times must ascend")
            first = time if first is None else first
            last, count = time, count + 1
            length = (last - first) / (count - 1) if count > 1 else _FRAME_SECONDS
            self.seconds = last + length
            yield time, partial(_checked_image, image, count - 1)
        if not count:
            raise ImderError("frames: there are none (a generator can be read only once)")

    def _pairs(self) -> Iterator[tuple[float, Any]]:
        source: Any = self.source
        if isinstance(source, tuple) and len(source) == 2 and getattr(source[1], "ndim", 0) == 4:
            times, images = source
            if np.ndim(times) != 1 or len(times) != len(images):
                raise ImderError(f"frames: {len(images)} images need as many times, got {np.shape(times)}")
            source = zip(times, images, strict=True)
        for i, pair in enumerate(source):
            try:
                time, image = pair
                seconds = float(time)
            except (TypeError, ValueError):
                raise ImderError(f"frames: frame {i} is not a pair of seconds and an RGB array") from None
            if not np.isfinite(seconds):
                raise ImderError(f"frames: frame {i} is at {seconds} s")
            yield seconds, image


def _checked_image(image: Any, number: int) -> Image:
    values = np.asarray(image)
    if values.dtype != np.uint8 or values.ndim != 3 or values.shape[2] != 3 or not values.size:
        raise ImderError(f"frames: frame {number} is {values.dtype} {values.shape}; RGB arrays are uint8 (H, W, 3)")
    return np.ascontiguousarray(values)
