"""The recipe by which a run's media are extracted: that of its training corpus, with models that have moved, and speech to text.

A clip with sound and no text is transcribed where that is possible, also for a run that was trained on given texts: features
of the same words are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from imder.data.compatible import extracted
from imder.extract.choose import NONE
from imder.extract.face.model_file import find_model
from imder.extract.manifest import Clip
from imder.extract.recipe import FaceRecipe, Recipe, SpeechRecipe
from imder.extract.speech.plan import Notify, plan_transcription
from imder.types import ImderError


@dataclass(frozen=True)
class MediaOptions:
    """Models of a recipe that have moved, and speech to text.

    Attributes:
        language: the transformer of texts, if it has moved; ``none`` to ignore texts.
        audio_model: the speech model of the features of sound, if it has moved.
        transcribe: None for clips that need it if faster-whisper and a model are there; True to insist; False for no.
        asr_model: the Whisper model of transcripts, and of the features of sound by the same weights; None for the recipe's.
        asr_language: the code of the language spoken; None for the recipe's, or to detect it in each clip.
        notify: called with a sentence if clips stay without language that could have it.
        face_model: the file of the models of faces, if the recipe's has moved.
    """

    language: str | None = None
    audio_model: str | None = None
    transcribe: bool | None = None
    asr_model: str | None = None
    asr_language: str | None = None
    notify: Notify = lambda message: None
    face_model: str | None = None


def media_recipe(recipe: Mapping[str, Any] | None, options: MediaOptions, run: str) -> Recipe:
    """The recipe of a run for media, as far as it doesn't depend on the clips.

    Raises:
        ImderError: the run has none.
    """
    if recipe is None or not extracted(recipe):
        raise ImderError(
            f"{run}: was trained on features that `imder extract` didn't make, so they can't be extracted from media; "
            "predict a corpus of such features, or train on a store that `imder extract` made"
        )
    read = Recipe.from_dict(recipe, run)
    if options.face_model is not None and isinstance(read.vision, FaceRecipe):
        read = replace(read, vision=replace(read.vision, model=str(find_model(options.face_model))))
    audio, spoken = read.audio, read.transcription
    if isinstance(audio, SpeechRecipe):
        same = audio.kind == "whisper" and (spoken is None or spoken.fingerprint == audio.fingerprint)
        model = options.audio_model or (options.asr_model if same else None) or audio.model
        read = replace(read, audio=replace(audio, model=model))
    elif options.audio_model is not None:
        raise ImderError(f"--audio-model: {run} reads no features of a speech model")
    if options.language == NONE:
        return read.only({"vision", "audio"})
    if options.language is not None and read.language is not None:
        return replace(read, language=replace(read.language, model=options.language))
    return read


def with_transcription(recipe: Recipe, clips: Sequence[Clip], options: MediaOptions) -> Recipe:
    """The recipe with speech to text for these clips, or without where it can't or shouldn't be had.

    Raises:
        ImderError: what was asked for is missing.
    """
    if recipe.language is None:
        if options.transcribe:
            raise ImderError("--transcribe: the words aren't read without language; leave it out")
        return recipe
    trained = recipe.transcription
    model = options.asr_model or (trained.model if trained is not None else None)
    language = options.asr_language or (trained.language if trained is not None else None)
    return replace(recipe, transcription=plan_transcription(clips, options.transcribe, model, language, options.notify))
