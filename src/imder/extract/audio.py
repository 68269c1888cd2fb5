"""Features of sound: zero crossings, MFCCs and chroma of CH-SIMS, or a log-mel spectrogram.

``librosa33`` is the recipe of CH-SIMS (Yu et al., ACL 2020): librosa with default parameters at 22,050 Hz, hop 512, window
2048: zero-crossing rate (1), MFCCs (20), constant-Q chroma (12). The numbers are librosa's, computed without it. ``mel64`` is
the power of 64 mel bands in dB re 1, not below -100. A signal of n samples has ``1 + n // hop`` frames, frame t centred at
``t * hop``; signals shorter than a window are padded with silence.

Long signals are processed in blocks with ``CONTEXT`` frames on either side, so filters at the edge of a block read the same
samples as in the whole signal. Two quantities of the librosa recipe depend on the whole signal: the level of the loudest mel
band (levels are clipped at 80 dB below it) and the tuning of the chroma. A first pass measures both: the level exactly, the
tuning from histograms, to the hundredth of a bin that librosa rounds to. A signal of up to ``BLOCK`` frames (a minute) is one
block, for which all is measured at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from imder.extract.chroma import TUNINGS, chroma, pitches, tuning_of
from imder.extract.extractor import sound_extractor
from imder.extract.media import Samples, Sound
from imder.extract.recipe import AudioRecipe
from imder.extract.spectrum import cepstrum, magnitudes, mel_decibels, zero_crossing_rate

Frames = NDArray[np.float32]

BLOCK = 2584
"""Frames in a block: about a minute at 22,050 Hz."""
CONTEXT = 128
"""Frames of context before and after a block: 3 s, longer than the longest constant-Q filter."""
_TOP_DB = 80.0  # librosa's power_to_db
_BANDS = 128  # mel bands of the cepstral coefficients
_RANGE = (-40.0, 12.0)  # octaves of magnitude that the tuning histogram covers
_PER_OCTAVE = 64  # bins of that histogram per octave


def audio_features(sound: Sound, recipe: AudioRecipe) -> Frames:
    """Features of a sound, ``(1 + n // hop, dim)`` float32, by the recipe of ``librosa33`` or ``mel64``.

    Raises:
        ImderError: the sound can't be read or is empty.
    """
    first, is_long = _beginning(sound, recipe)
    if not is_long:
        return _whole(first, recipe)
    if recipe.kind == "mel64":
        return np.concatenate([*_in_blocks(sound, recipe, partial(_mel, recipe=recipe))])
    top, tuning = _survey(sound, recipe)
    return np.concatenate([*_in_blocks(sound, recipe, partial(_librosa33, recipe=recipe, top=top, tuning=tuning))])


LIBROSA33 = sound_extractor(AudioRecipe("librosa33", 22050, 512, 2048, 33), audio_features)
MEL64 = sound_extractor(AudioRecipe("mel64", 22050, 512, 2048, 64), audio_features)


def _beginning(sound: Sound, recipe: AudioRecipe) -> tuple[Samples, bool]:
    """The signal and False, or, for a signal longer than a block, its beginning and True."""
    limit = BLOCK * recipe.hop
    parts: list[Samples] = []
    count = 0
    for piece in sound.chunks():
        parts.append(piece)
        count += len(piece)
        if count >= limit:
            return np.concatenate(parts), True
    return np.concatenate(parts), False


def _whole(signal: Samples, recipe: AudioRecipe) -> Frames:
    """Features of a short signal."""
    frames = 1 + len(signal) // recipe.hop
    if len(signal) < recipe.window:
        signal = np.pad(signal, (0, recipe.window - len(signal)))
    features = _mel(signal, recipe) if recipe.kind == "mel64" else _librosa33(signal, recipe)
    return features[:frames]


def _librosa33(signal: Samples, recipe: AudioRecipe, top: float | None = None, tuning: float | None = None) -> Frames:
    """The 33 features; ``top`` (dB) and ``tuning`` are estimated from the signal if not given."""
    rate, window, hop = recipe.rate, recipe.window, recipe.hop
    spectra = magnitudes(signal, window, hop)
    level = mel_decibels(spectra, rate, _BANDS)
    level = np.maximum(level, (level.max() if top is None else top) - _TOP_DB)
    if tuning is None:
        tuning = tuning_of(*pitches(spectra, rate))
    crossings = zero_crossing_rate(signal, window, hop)[:, None]
    return np.concatenate([crossings, cepstrum(level, 20), chroma(signal, rate, hop, tuning)], axis=1)


def _mel(signal: Samples, recipe: AudioRecipe) -> Frames:
    return mel_decibels(magnitudes(signal, recipe.window, recipe.hop), recipe.rate, recipe.dim)


def _in_blocks(sound: Sound, recipe: AudioRecipe, features_of: Callable[[Samples], Frames]) -> Iterator[Frames]:
    """Features of the signal block by block, without the frames of context."""
    for segment, before, frames in _segments(sound, recipe):
        yield features_of(segment)[before : before + frames]


def _segments(sound: Sound, recipe: AudioRecipe) -> Iterator[tuple[Samples, int, int]]:
    """(samples with context, frames of context before, frames of the block) of each block.

    The last block takes the remainder, so no block is shorter than the filters.
    """
    hop = recipe.hop
    buffer = np.zeros(0, np.float32)
    begin = 0  # frame at which the buffer begins
    done = 0  # frames yielded
    for piece in sound.chunks():
        buffer = np.concatenate([buffer, piece])
        while begin * hop + len(buffer) >= (done + 2 * BLOCK + CONTEXT) * hop:
            yield buffer[: (done + BLOCK + CONTEXT - begin) * hop], done - begin, BLOCK
            done += BLOCK
            buffer, begin = buffer[(done - CONTEXT - begin) * hop :], done - CONTEXT
    yield buffer, done - begin, 1 + begin + len(buffer) // hop - done


def _survey(sound: Sound, recipe: AudioRecipe) -> tuple[float, float]:
    """Level of the loudest mel band (dB) and tuning (bins of the constant-Q transform) of a long signal.

    Tuning is that of `imder.extract.chroma.tuning_of`, but that the median comes from a histogram of magnitudes with 64 bins
    per octave.
    """
    top = -np.inf
    low, high = _RANGE
    steps = int((high - low) * _PER_OCTAVE)
    counts = np.zeros((steps, len(TUNINGS) - 1), np.int64)
    for segment, before, frames in _segments(sound, recipe):
        spectra = magnitudes(segment, recipe.window, recipe.hop)[before : before + frames]
        top = max(top, float(mel_decibels(spectra, recipe.rate, _BANDS).max()))
        offsets, strength = pitches(spectra, recipe.rate)
        rank = np.clip((np.log2(np.maximum(strength, 1e-30)) - low) * _PER_OCTAVE, 0, steps - 1).astype(int)
        column = np.clip(np.searchsorted(TUNINGS, offsets, side="right") - 1, 0, len(TUNINGS) - 2)
        np.add.at(counts, (rank, column), 1)
    if not counts.sum():
        return top, 0.0
    by_strength = np.cumsum(counts.sum(axis=1))
    middle = int(np.searchsorted(by_strength, by_strength[-1] / 2))
    return top, float(TUNINGS[int(np.argmax(counts[middle:].sum(axis=0)))])
