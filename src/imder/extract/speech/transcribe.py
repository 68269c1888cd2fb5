"""The transcript of a clip that has sound and no text."""

from __future__ import annotations

import numpy as np

from imder.extract.manifest import Clip
from imder.extract.media import NoSoundTrack, Sound
from imder.extract.recipe import TranscriptionRecipe
from imder.extract.speech.whisper import RATE, whisper_of
from imder.extract.speech.words import Transcript

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
    try:
        signal = np.concatenate([*Sound(source, RATE).chunks()])
    except NoSoundTrack:
        if clip.audio is not None:
            raise
        return None
    return whisper_of(recipe.model, recipe.fingerprint).transcribe(signal, recipe.language)
