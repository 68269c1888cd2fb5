"""The transcript of a clip that has sound and no text.

Long sound is transcribed in blocks, which end at the quietest moment of their last minute, so memory doesn't grow with length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from imder.extract.manifest import Clip
from imder.extract.media import NoSoundTrack, Sound
from imder.extract.recipe import TranscriptionRecipe
from imder.extract.speech.whisper import RATE, whisper_of
from imder.extract.speech.words import Transcript, Word

BLOCK = 600
"""Most seconds that are transcribed at once."""
LAST = 60
"""Seconds at the end of a block in which it is cut."""
_PAUSE = RATE // 4  # samples of a moment
NO_SPEECH = "no speech was found in the sound"


def needs_transcript(clip: Clip) -> bool:
    """Whether a clip has sound, perhaps, and no text: a transcript that is given always wins."""
    return clip.has["audio"] and not clip.has["language"]


def transcript_of(clip: Clip, recipe: TranscriptionRecipe) -> Transcript | None:
    """The words that are spoken in a clip; None for a video without a sound track.

    Raises:
        ImderError: the sound or the model can't be read.
    """
    source = clip.sound_source
    assert source is not None
    whisper = whisper_of(recipe.model, recipe.fingerprint)
    words: list[Word] = []
    language = recipe.language
    try:
        for start, signal in blocks(Sound(source, RATE)):
            part = whisper.transcribe(signal, language)
            language = language or part.language or None
            words += [replace(word, start=word.start + start, end=word.end + start) for word in part.words]
    except NoSoundTrack:
        if clip.audio is not None:
            raise
        return None
    return Transcript(tuple(words), language or "")


def blocks(sound: Sound) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """A sound at `RATE` in blocks of up to `BLOCK` seconds: the second at which each begins, and its samples."""
    pieces: list[NDArray[np.float32]] = []
    count = start = 0
    for piece in sound.chunks():
        pieces.append(piece)
        count += len(piece)
        while count > BLOCK * RATE:
            signal = np.concatenate(pieces)
            cut = (BLOCK - LAST) * RATE + quietest(signal[(BLOCK - LAST) * RATE : BLOCK * RATE])
            yield start / RATE, signal[:cut]
            start += cut
            pieces, count = [signal[cut:].copy()], count - cut
    yield start / RATE, np.concatenate(pieces)


def quietest(signal: NDArray[np.float32]) -> int:
    """The middle of the quarter of a second that has the least energy.

    >>> quietest(np.repeat([1.0, 0.0, 1.0], 8000).astype(np.float32)) / 16000
    0.625
    """
    energy = np.square(signal[: len(signal) // _PAUSE * _PAUSE], dtype=np.float64).reshape(-1, _PAUSE).sum(axis=1)
    return int(np.argmin(energy)) * _PAUSE + _PAUSE // 2
