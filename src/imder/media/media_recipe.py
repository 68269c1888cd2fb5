"""The recipe by which a run's media are extracted: that of its training corpus, with models that have moved, and speech to text.

A clip with sound and no text is transcribed where that is possible, also for a run that was trained on given texts: features
of the same words are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from imder.data.compatible import extracted
from imder.extract.extractors import NONE, extractor_of
from imder.extract.face.model_file import find_model
from imder.extract.manifest import Clip
from imder.extract.recipe import FaceRecipe, Recipe, SpeechRecipe
from imder.extract.speech.plan import Notify, plan_transcription
from imder.extract.vision import OPENFACE
from imder.types import ImderError


@dataclass(frozen=True)
class MediaOptions:
    """Models of a recipe that have moved, programs, and speech to text.

    Attributes:
        language: the transformer of texts, if it has moved; ``none`` to ignore texts.
        audio_model: the speech model of the features of sound, if it has moved.
        transcribe: None for clips that need it if faster-whisper and a model are there; True to insist; False for no.
        asr_model: the Whisper model of transcripts, and of the features of sound by the same weights; None for the recipe's.
        asr_language: the code of the language spoken; None for the recipe's, or to detect it in each clip.
        notify: called with a sentence if clips stay without language that could have it.
        face_model: the file of the models of faces, if the recipe's has moved.
        openface: OpenFace's program or its folder, for videos without a table; None for the one on PATH, if any.
        ignored: modalities that are always missing; without audio, nothing is transcribed either.
    """

    language: str | None = None
    audio_model: str | None = None
    transcribe: bool | None = None
    asr_model: str | None = None
    asr_language: str | None = None
    notify: Notify = lambda message: None
    face_model: str | None = None
    openface: str | None = None
    ignored: frozenset[str] = frozenset()


def media_recipe(recipe: Mapping[str, Any] | None, options: MediaOptions, run: str) -> Recipe:
    """The recipe of a run for media, as far as it doesn't depend on the clips.

    Raises:
        ImderError: the run has none, or an option is about something that it doesn't read.
    """
    if recipe is None or not extracted(recipe):
        vain = next((f"{option}: " for option in given_options(options)), "")
        raise ImderError(
            f"{vain}{run} was trained on features that `imder extract` didn't make, so they can't be extracted from media; "
            f"predict a corpus of such features{' without this option' if vain else ''}, or train on a store that "
            "`imder extract` made"
        )
    read = Recipe.from_dict(recipe, run)
    if options.language == NONE:
        read = replace(read, language=None)
    for option, what in _unread(read, options):
        raise ImderError(f"{option}: {run} reads no {what}; leave it out")
    if options.language is not None and read.language is not None:
        read = replace(read, language=replace(read.language, model=options.language))
    if options.face_model is not None and isinstance(read.vision, FaceRecipe):
        read = replace(read, vision=replace(read.vision, model=str(find_model(options.face_model))))
    if isinstance(read.audio, SpeechRecipe):
        model = options.audio_model or (options.asr_model if _shares_weights(read) else None) or read.audio.model
        read = replace(read, audio=replace(read.audio, model=model))
    return read.only(read.dims.keys() - options.ignored)


def given_options(options: MediaOptions) -> list[str]:
    """The options of extraction that are given, as the command line names them.

    >>> given_options(MediaOptions(language="none", transcribe=False))
    ['--language']
    """
    values = {
        "--language": options.language,
        "--transcribe": options.transcribe or None,  # --no-transcribe holds for any run
        "--asr-model": options.asr_model,
        "--asr-language": options.asr_language,
        "--audio-model": options.audio_model,
        "--face-model": options.face_model,
        "--openface-program": options.openface,
    }
    return [option for option, value in values.items() if value is not None]


def _unread(recipe: Recipe, options: MediaOptions) -> Iterator[tuple[str, str]]:
    """Each option that is given in vain, and what the recipe would have to read for it."""
    ignores_texts, reads_words = options.language == NONE, recipe.language is not None
    words = "words with --language none" if ignores_texts else "words"
    columns = recipe.vision is not None and extractor_of("vision", recipe.vision) is OPENFACE
    table = {
        "--language": (ignores_texts or reads_words, "texts"),
        "--transcribe": (reads_words, words),
        "--asr-model": (reads_words or _shares_weights(recipe), words),
        "--asr-language": (reads_words, words),
        "--audio-model": (isinstance(recipe.audio, SpeechRecipe), "features of a speech model"),
        "--face-model": (isinstance(recipe.vision, FaceRecipe), "faces by such models"),
        "--openface-program": (columns, "columns of OpenFace"),
    }
    return ((option, table[option][1]) for option in given_options(options) if not table[option][0])


def _shares_weights(recipe: Recipe) -> bool:
    """Whether the features of sound are those of the Whisper model that also transcribes."""
    audio, spoken = recipe.audio, recipe.transcription
    if not isinstance(audio, SpeechRecipe) or audio.kind != "whisper":
        return False
    return spoken is None or spoken.fingerprint == audio.fingerprint


def with_transcription(recipe: Recipe, clips: Sequence[Clip], options: MediaOptions) -> Recipe:
    """The recipe with speech to text for these clips, or without where it can't or shouldn't be had.

    Raises:
        ImderError: what was asked for is missing.
    """
    if recipe.language is None:
        return recipe
    trained = recipe.transcription
    model = options.asr_model or (trained.model if trained is not None else None)
    language = options.asr_language or (trained.language if trained is not None else None)
    transcribe = False if "audio" in options.ignored else options.transcribe
    return replace(recipe, transcription=plan_transcription(clips, transcribe, model, language, options.notify))
