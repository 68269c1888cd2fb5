"""Chroma of a constant-Q transform (Brown and Puckette, 1992; Schoerkhuber and Klapuri, 2010), and the tuning of a sound.

The same numbers as librosa's ``chroma_cqt`` and ``estimate_tuning`` with their default parameters: 7 octaves of 36 bins from C1
on. The filters of one octave serve all: the sound is halved in rate from octave to octave. They are applied in the time domain,
as one matrix product for all frames and octaves.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imder.extract.spectrum import Floats, frames_of, hann_window, product

BINS = 36
"""Bins of an octave."""
OCTAVES = 7
PITCHES = 12

_LOWEST = 440.0 * 2 ** ((24 - 69) / 12)  # C1, in Hz
_A0 = 27.5  # Hz
_DROPPED = 0.01  # share of a filter's magnitude in its least Fourier coefficients, which are dropped
_RANGE = (150.0, 4000.0)  # of pitches, in Hz
_PROMINENT = 0.1  # least magnitude of a pitch, relative to the frame's greatest
TUNINGS = np.linspace(-0.5, 0.5, 101)
"""Edges of the histogram of offsets from the scale, in bins."""


def chroma(signal: Floats, rate: int, hop: int, tuning: float) -> Floats:
    """Strength of the 12 pitch classes from C on, ``(1 + n // hop, 12)``; the strongest of a frame is 1, in silence 0.

    Args:
        signal: ``(n,)``.
        rate: samples per second.
        hop: samples from frame to frame, a multiple of 2 ** 6.
        tuning: offset from the equal-tempered scale in bins, a multiple of .01.
    """
    import soxr

    filters = _filters(rate, round(tuning, 2))
    frames = []
    for octave in range(OCTAVES):
        frames.append(frames_of(signal, len(filters), hop >> octave))
        halved = soxr.resample(signal, 2, 1, quality="soxr_hq") if octave + 1 < OCTAVES else signal
        size = -(-len(signal) // 2)
        signal = np.pad(halved[:size], (0, max(0, size - len(halved)))) / np.sqrt(0.5)
        signal = signal.astype(np.float32)
    count = min(map(len, frames))
    strength = np.zeros((count, PITCHES))
    for octave_frames in frames:
        # In double precision, since a loud sound beyond the filters must cancel.
        products = product(octave_frames[:count].astype(np.float64), filters)
        magnitude = np.hypot(products[:, :BINS], products[:, BINS:])
        thirds = np.roll(magnitude, 1, axis=1).reshape(count, PITCHES, -1)  # a pitch class is a bin and its neighbours
        strength += thirds.sum(axis=2)
    strongest = strength.max(axis=1, keepdims=True)
    strongest[strongest < np.finfo(np.float32).tiny] = 1
    normalised: Floats = (strength / strongest).astype(np.float32)
    return normalised


@lru_cache(maxsize=16)
def _filters(rate: int, tuning: float) -> NDArray[np.float64]:
    """Real and imaginary parts of the filters of the highest octave, ``(window, 2 * BINS)``."""
    steps = BINS * (OCTAVES - 1) + np.arange(BINS) + tuning
    frequencies = _LOWEST * 2 ** (steps / BINS)
    ratio = 2 ** (2 / BINS)
    lengths = (ratio + 1) / (ratio - 1) * rate / frequencies
    window = int(2 ** np.ceil(np.log2(lengths.max())))
    padded = np.zeros((BINS, window), np.complex64)
    for row, length, frequency in zip(padded, lengths, frequencies):
        times = np.arange(-length // 2, length // 2)
        wave = np.exp(2j * np.pi * frequency / rate * times) * hann_window(len(times))
        start = (window - len(times)) // 2
        row[start : start + len(times)] = wave / np.abs(wave).sum()
    padded *= lengths[:, None] / window
    basis = np.fft.fft(padded, axis=1)[:, : window // 2 + 1]
    size = np.abs(basis)
    ordered = np.sort(size, axis=1)
    shares = np.cumsum(ordered / size.sum(axis=1, keepdims=True), axis=1)
    least = np.take_along_axis(ordered, np.argmin(shares < _DROPPED, axis=1)[:, None], axis=1)
    basis[size < least] = 0
    # The product of a spectrum with a row is that of the frame with the row's own transform.
    kernels = np.fft.fft(np.pad(basis / np.sqrt(lengths)[:, None], ((0, 0), (0, window - basis.shape[1]))), axis=1)
    return np.ascontiguousarray(np.concatenate([kernels.real, kernels.imag]).T)


def pitches(spectra: Floats, rate: int) -> tuple[NDArray[np.float64], Floats]:
    """Offsets from the equal-tempered scale, in bins of [-.5, .5), and magnitudes of the pitches in some spectra ``(T, F)``.

    Pitches are prominent local maxima of the magnitude, refined by a parabola.
    """
    width = rate / (2 * (spectra.shape[1] - 1))
    first, last = (int(np.ceil(frequency / width)) for frequency in _RANGE)
    kept = np.where(spectra > np.float32(_PROMINENT) * spectra.max(axis=1, keepdims=True), spectra, 0)
    below, middle, above = (kept[:, first + shift : last + shift] for shift in (-1, 0, 1))
    peaks = np.nonzero((middle > below) & (middle >= above))
    left, middle, right = (spectra[:, first + shift : last + shift][peaks].astype(np.float64) for shift in (-1, 0, 1))
    curvature, slope = left + right - 2 * middle, (right - left) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.where(np.abs(slope) >= np.abs(curvature), 0, -slope / curvature).astype(np.float32)
    frequencies = ((peaks[1] + first + shift.astype(np.float64)) * width).astype(np.float32)
    strength = (middle.astype(np.float32) + np.float32(0.5) * slope.astype(np.float32) * shift).astype(np.float32)
    offsets = np.mod(BINS * np.log2(frequencies.astype(np.float64) / _A0), 1.0)
    offsets[offsets >= 0.5] -= 1.0
    return offsets, strength


def tuning_of(offsets: NDArray[np.float64], strength: Floats) -> float:
    """The most frequent offset among the pitches of at least median magnitude, in bins; 0 without pitches.

    >>> tuning_of(np.array([0.1234, 0.1201, -0.3]), np.ones(3, np.float32))
    0.12
    """
    if not len(offsets):
        return 0.0
    counts, edges = np.histogram(offsets[strength >= np.median(strength)], TUNINGS)
    return round(float(edges[np.argmax(counts)]), 2)
