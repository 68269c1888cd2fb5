"""The latest sound of a stream, in an array of fixed size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.extract.decoded import DecodedSound
from imder.extract.extractor import Extractor
from imder.extract.manifest import Clip
from imder.extract.media import LEAST_RATE
from imder.extract.recipe import AudioRecipe

Samples = NDArray[np.float32]
Gaps = list[tuple[float, float]]

MAX_RATE = 384_000
"""Highest sampling rate in Hz."""
_JITTER = 0.05  # seconds: times of pieces that follow each other may be wrong by so much, and shorter gaps don't count
_MAX_LEVEL = 100.0  # floats beyond are numbers of another format: full scale is 1


class SoundBuffer:
    """Sound by its time; where two pieces overlap, the later push counts.

    Args:
        seconds: how much is kept.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._rate = 0
        self._first = 0  # number of the first sample kept, counted from time 0
        self._next = 0  # number of the sample after the last piece
        self._samples: Samples = np.zeros(0, np.float32)
        self._covered: NDArray[np.bool_] = np.zeros(0, bool)

    @property
    def size(self) -> int:
        """Number of samples kept."""
        return len(self._samples)

    def put(self, start: float, samples: Samples, rate: int) -> None:
        """Add a piece ``(n,)`` that starts at ``start`` seconds. Another rate begins anew."""
        if rate != self._rate:
            self._rate = rate
            count = int(self._seconds * rate) + 1
            self._samples, self._covered = np.zeros(count, np.float32), np.zeros(count, bool)
            self._first = max(0, round((start - self._seconds / 2) * rate))  # earlier pieces may still come
            self._next = round(start * rate)
        at = round(start * rate)
        if abs(at - self._next) <= min(_JITTER * rate, len(samples) / 2):
            at = self._next
        self._next = at + len(samples)
        if (beyond := self._next - self._first - len(self._samples)) > 0:
            self._drop(beyond)
        offset = at - self._first
        if offset < 0:
            samples, offset = samples[-offset:], 0
        self._samples[offset : offset + len(samples)] = samples
        self._covered[offset : offset + len(samples)] = True

    def cut(self, start: float, end: float) -> tuple[Samples, int, Gaps] | None:
        """The samples of ``start <= t < end``, their rate, and the gaps in seconds from ``start``; None without sound.

        Gaps are filled with silence.
        """
        first, last = round(start * self._rate), round(end * self._rate)
        samples, covered = np.zeros(last - first, np.float32), np.zeros(last - first, bool)
        low, high = max(first, self._first), min(last, self._first + len(self._samples))
        if low < high:
            samples[low - first : high - first] = self._samples[low - self._first : high - self._first]
            covered[low - first : high - first] = self._covered[low - self._first : high - self._first]
        if not covered.any():
            return None
        edges = np.flatnonzero(np.diff(np.concatenate([[True], covered, [True]])))
        gaps = [(a / self._rate, b / self._rate) for a, b in edges.reshape(-1, 2).tolist()]
        return samples, self._rate, [(a, b) for a, b in gaps if b - a > _JITTER]

    def forget(self, before: float) -> None:
        """Let go of what lies before a time."""
        if self._rate and (count := int(before * self._rate) - self._first) > 0:
            self._drop(count)

    def _drop(self, count: int) -> None:
        """Shift the array by ``count`` samples."""
        for array in (self._samples, self._covered):
            kept = array[count:].copy()
            array[: len(kept)] = kept
            array[len(kept) :] = 0
        self._first += count


def as_mono(samples: Any, rate: Any) -> Samples | None:
    """Samples ``(n,)`` or ``(n, channels)``, floats in about [-1, 1] or signed integers, as mono; None for anything else.

    >>> as_mono(np.array([[16384, 0], [0, 8192]], np.int16), 16000)
    array([0.25 , 0.125], dtype=float32)
    """
    try:
        values = np.array(samples)
        if not LEAST_RATE <= int(rate) <= MAX_RATE or int(rate) != rate:
            return None
    except (TypeError, ValueError, OverflowError):
        return None
    if values.ndim not in (1, 2) or not values.size or values.dtype.kind not in "fi":
        return None
    if values.ndim == 2 and values.shape[0] < values.shape[1]:
        return None
    scale = 1.0 if values.dtype.kind == "f" else 1.0 / -float(np.iinfo(values.dtype).min)
    mono: Samples = (values.reshape(len(values), -1) * scale).astype(np.float32).mean(axis=1, dtype=np.float32)
    return mono if np.isfinite(mono).all() and np.abs(mono).max() <= _MAX_LEVEL else None


def features_of(
    sound: tuple[Samples, int, Gaps], extractor: Extractor, recipe: AudioRecipe
) -> tuple[NDArray[np.float32] | None, float]:
    """Features ``(T, D)`` of a window's sound, as of a clip that holds it alone, and the share of the window they cover.

    Raises:
        ImderError: the extractor can't read it.
    """
    samples, rate, gaps = sound
    made = extractor.make(Clip("sound", sound=DecodedSound(samples, rate, gaps)), recipe, None)
    if made.features is None:
        return None, 0.0
    return made.features, min(1.0, len(made.features) * made.frame_seconds * rate / len(samples))
