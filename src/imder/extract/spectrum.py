"""Spectra of sound: magnitudes of a short-time Fourier transform, mel bands, cepstral coefficients, zero crossings.

The same numbers as librosa's with its default parameters (McFee et al., 2015), without numba, whose compilation costs seconds
in each process.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_BATCH = 128  # frames transformed at once: their spectra fit the caches
_ZERO = 1e-10  # samples of at most this magnitude count as 0
_LEAST_POWER = 1e-10  # -100 dB
_LINEAR_HZ, _LINEAR_MEL = 200.0 / 3, 15.0  # Slaney's mel scale: linear up to 15 mel = 1000 Hz
_LOG_STEP = np.log(6.4) / 27.0  # then logarithmic


def product(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """A matrix product on as many threads as torch uses."""
    result: NDArray[Any] = (torch.from_numpy(left) @ torch.from_numpy(right)).numpy()
    return result


def frames_of(signal: Floats, window: int, hop: int, mode: str = "constant") -> Floats:
    """Frames centred at multiples of ``hop``, ``(1 + n // hop, window)``; beyond the ends there is silence, or the edge."""
    padded = np.pad(signal, window // 2, mode=mode)  # type: ignore[call-overload]
    frames: Floats = sliding_window_view(padded, window)[::hop]
    return frames


def magnitudes(signal: Floats, window: int, hop: int) -> Floats:
    """Magnitudes of the Fourier transform under Hann windows, ``(1 + n // hop, 1 + window // 2)``."""
    frames = frames_of(signal, window, hop)
    hann = hann_window(window)
    spectra = np.empty((len(frames), 1 + window // 2), np.float32)
    for start in range(0, len(frames), _BATCH):
        batch = slice(start, start + _BATCH)
        spectra[batch] = np.abs(np.fft.rfft(frames[batch] * hann).astype(np.complex64))
    return spectra


def hann_window(size: int) -> NDArray[np.float64]:
    """A periodic Hann window."""
    window: NDArray[np.float64] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    return window


def mel_decibels(spectra: Floats, rate: int, bands: int) -> Floats:
    """Power of mel bands of some magnitudes ``(T, F)``, ``(T, bands)``, in dB re 1, not below -100."""
    power = product(spectra**2, mel_filters(rate, 2 * (spectra.shape[1] - 1), bands))
    decibels: Floats = 10 * np.log10(np.maximum(power, _LEAST_POWER))
    return decibels


@lru_cache(maxsize=8)
def mel_filters(rate: int, window: int, bands: int) -> Floats:
    """Triangular filters on Slaney's mel scale, each of unit area in Hz, ``(1 + window // 2, bands)``.

    >>> mel_filters(22050, 2048, 128).shape
    (1025, 128)
    """
    top = _LINEAR_MEL + np.log(rate / 2 / (_LINEAR_MEL * _LINEAR_HZ)) / _LOG_STEP
    mel = np.linspace(0, top, bands + 2)
    linear = _LINEAR_HZ * mel
    edges = np.where(mel < _LINEAR_MEL, linear, _LINEAR_HZ * _LINEAR_MEL * np.exp(_LOG_STEP * (mel - _LINEAR_MEL)))
    bins = np.arange(1 + window // 2)[:, None] * (rate / window)
    rising = (bins - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins) / np.diff(edges)[1:]
    weights = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))
    filters: Floats = weights.astype(np.float32)
    return filters


def cepstrum(decibels: Floats, coefficients: int) -> Floats:
    """The first cosine coefficients (orthonormal DCT-II) of levels ``(T, bands)``, ``(T, coefficients)``."""
    bands = decibels.shape[1]
    angles = np.pi / bands * (np.arange(bands)[:, None] + 0.5) * np.arange(coefficients)
    basis = np.cos(angles) * np.sqrt(np.where(np.arange(coefficients) == 0, 1, 2) / bands)
    cepstra: Floats = (decibels @ basis).astype(np.float32)
    return cepstra


def zero_crossing_rate(signal: Floats, window: int, hop: int) -> Floats:
    """The share of samples whose sign differs from that of the one before, within each frame, ``(1 + n // hop,)``."""
    padded = np.pad(signal, window // 2, mode="edge")
    negative = padded < -_ZERO
    changes = np.concatenate([[0], np.cumsum(negative[1:] != negative[:-1])])
    starts = np.arange(0, len(padded) - window + 1, hop)
    rates: Floats = ((changes[starts + window - 1] - changes[starts]) / window).astype(np.float32)
    return rates
