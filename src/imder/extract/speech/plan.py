"""What is transcribed and by which model, and the default features of sound: what is installed is used.

The model is that of ``--asr-model``, else of the environment variable ``IMDER_ASR_MODEL``, else Whisper ``base``, which
knows 99 languages and is fetched once (145 MB).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec

from imder.extract.manifest import Clip
from imder.extract.recipe import TranscriptionRecipe
from imder.extract.speech.transcribe import needs_transcript
from imder.extract.speech.whisper import load_whisper
from imder.types import ImderError

VARIABLE = "IMDER_ASR_MODEL"
DEFAULT_MODEL = "base"
INSTALL = "pip install '.[speech]'"

Notify = Callable[[str], object]


def installed() -> bool:
    """Whether faster-whisper is installed."""
    return find_spec("faster_whisper") is not None


def asr_model(given: str | None = None) -> str:
    """The Whisper model: the one that is given, else the environment's, else the default."""
    return given or os.environ.get(VARIABLE) or DEFAULT_MODEL


def transcription_recipe(model: str | None, language: str | None = None) -> TranscriptionRecipe:
    """The recipe of transcripts by a model.

    Raises:
        ImderError: faster-whisper or the model is missing, or the model doesn't know the language.
    """
    if not installed():
        raise ImderError(f"--transcribe needs faster-whisper: {INSTALL}")
    name = asr_model(model)
    whisper = load_whisper(name)
    if language is not None and language not in whisper.languages:
        raise ImderError(f"--asr-language {language}: {name} knows {', '.join(whisper.languages)}")
    return TranscriptionRecipe(name, whisper.fingerprint(), language)


def plan_transcription(
    clips: Sequence[Clip],
    transcribe: bool | None,
    model: str | None = None,
    language: str | None = None,
    notify: Notify = lambda message: None,
) -> TranscriptionRecipe | None:
    """How clips without a text get one; None if they don't.

    Args:
        clips: all clips.
        transcribe: None for clips that need it if faster-whisper and a model are there; True to insist; False for no.
        model: size, name or folder of a Whisper model, which must be there if it is given.
        language: the code of the language spoken; None to detect it in each clip.
        notify: called with a sentence if clips stay without language that could have it.

    Raises:
        ImderError: what was asked for is missing.
    """
    waiting = sum(needs_transcript(clip) for clip in clips)
    if transcribe is False or (transcribe is None and not waiting):
        return None
    if transcribe or model is not None:
        return transcription_recipe(model, language)
    if not installed():
        notify(f"language is missing in {waiting} clips with sound and no text; speech to text: {INSTALL}")
        return None
    try:
        return transcription_recipe(model, language)
    except ImderError as error:
        if language is not None:
            raise
        notify(f"language is missing in {waiting} clips with sound and no text: {error}")
        return None


def default_audio(model: str | None, notify: Notify = lambda message: None) -> str:
    """The features of sound if no option names them: ``whisper`` where it is installed, else ``librosa33``."""
    if not installed():
        return "librosa33"
    try:
        load_whisper(asr_model(model))
    except ImderError as error:
        if model is not None:
            raise
        notify(f"audio: librosa33, since Whisper can't be used: {error}")
        return "librosa33"
    return "whisper" if model is None else f"whisper:{model}"
