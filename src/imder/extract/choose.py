"""The recipe for a user's clips and options. Errors that affect every clip are raised before any extraction."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from imder.extract.extractors import NONE, find_extractor, parts_of, require_packages
from imder.extract.face.extractor import FACES, FaceOptions, bundle_of, face_recipe
from imder.extract.language import CHINESE, ENGLISH, MAX_TOKENS, MULTILINGUAL, TRANSFORMER, default_model, encoder_of
from imder.extract.manifest import Clip
from imder.extract.openface import check_columns, read_header
from imder.extract.recipe import (
    FaceRecipe,
    LanguageRecipe,
    Recipe,
    SpeechRecipe,
    TranscriptionRecipe,
    VisionRecipe,
    versions,
)
from imder.extract.speech.encoders import encoder_of_recipe, speech_recipe
from imder.extract.speech.plan import Notify, default_audio, plan_transcription
from imder.extract.speech.transcribe import needs_transcript
from imder.extract.speech.whisper import whisper_of
from imder.extract.vision import OPENFACE
from imder.types import ImderError

__all__ = ["NONE", "check_ready", "choose_recipe", "usable_recipe"]


def choose_recipe(
    clips: Sequence[Clip],
    *,
    language: str | None = None,
    max_tokens: int = MAX_TOKENS,
    audio: str | None = None,
    audio_rate: float | None = None,
    audio_layers: str | None = None,
    vision: str | None = None,
    openface: str | None = None,
    face: FaceOptions | None = None,
    transcribe: bool | None = None,
    asr_model: str | None = None,
    asr_language: str | None = None,
    notify: Notify = lambda message: None,
) -> Recipe:
    """The recipe for these clips. Modalities that no clip has, or whose option is ``none``, are left out.

    Args:
        clips: all clips.
        language: a transformer's name or folder, or an extractor; None for BERT in the texts' language (multilingual if
            all texts are transcripts still to be made, in a language that isn't given).
        max_tokens: longest text in tokens, special tokens included.
        audio: an extractor: ``librosa33``, ``mel64``, ``egemaps``, ``whisper[:MODEL]``, a speech model's name or folder, or
            one of another package; None for ``whisper`` if it is installed, else ``librosa33``.
        audio_rate: steps a second of a speech model; None for 10.
        audio_layers: layers of a speech model (`imder.extract.speech.states.layer_weights`); None for the mean of all,
            for Whisper the last but one.
        vision: ``face``, ``face+landmarks``, columns of OpenFace (`imder.extract.openface.columns_of`), or an extractor; None
            for `default_vision`.
        openface: OpenFace's program, for videos without a table.
        face: options of ``face`` and ``face+landmarks``.
        transcribe: whether clips with sound and no text are transcribed (`imder.extract.speech.plan.plan_transcription`).
        asr_model: the Whisper model; None for the default.
        asr_language: the language spoken; None to detect it in each clip.
        notify: called with a sentence on what is missing and how to get it.

    Raises:
        ImderError: an option is unknown, a package or model that an option names is missing, the first table lacks columns, or
            fewer than two modalities are left.
    """
    if max_tokens < 3:
        raise ImderError(f"--max-tokens: at least 3 (two of them special), got {max_tokens}")
    texts = [clip.text for clip in clips if clip.text is not None]
    transcription = None
    if language != NONE:
        transcription = plan_transcription(clips, transcribe, asr_model, asr_language, notify)
    elif transcribe:
        raise ImderError("--transcribe: the words aren't read with --language none; leave one of the two out")
    if audio is None:
        has_audio = any(clip.has["audio"] for clip in clips)
        audio = default_audio(asr_model, notify) if has_audio else "librosa33"
    elif audio == "whisper" and asr_model is not None:
        audio = f"whisper:{asr_model}"
    spoken = None if texts or transcription is None else transcription
    options = {
        "language": language or _language_model(texts, spoken),
        "vision": vision or default_vision(clips, openface),
        "audio": audio,
    }
    extractors = {name: find_extractor(name, option) for name, option in options.items() if option != NONE}
    chosen = {name: e for name, e in extractors.items() if any(e.applies(clip, openface) for clip in clips)}
    if transcription is not None and any(needs_transcript(clip) for clip in clips):
        chosen = {"language": extractors["language"]} | chosen
    if len(chosen) < 2:
        raise ImderError(
            f"a corpus needs at least two modalities, these clips have only {', '.join(chosen) or 'none'} "
            "(vision needs videos and pip install '.[face]', or OpenFace's tables or program)"
        )
    parts: dict[str, Any] = {}
    named = {"language": language, "vision": vision or (face.model if face else None)}
    optional = {name for name, option in named.items() if option is None}
    for name, extractor in [*reversed(chosen.items())]:  # language last: loading a transformer takes longest
        try:
            require_packages(extractor)
            if extractor in FACES:
                parts[name] = face_recipe(options[name], face)
            else:
                parts[name] = extractor.recipe(options[name], max_tokens)
        except ImderError as error:
            if name in optional and len(chosen) > 2:  # a corpus without it is still possible
                del chosen[name]
                notify(f"{name} will be missing: {error}")
                continue
            if name == "language" and len(chosen) > 2:
                raise ImderError(f"{error}, or leave language out: --language none") from None
            raise
        if extractor is OPENFACE:
            _check_first_table(clips, options[name])
    parts["audio"] = speech_recipe(parts.get("audio"), audio_rate, audio_layers)
    if "language" not in parts:
        transcription = None
    return Recipe(**parts, versions=versions(), transcription=transcription)


def _language_model(texts: Sequence[str], transcription: TranscriptionRecipe | None) -> str:
    """The default transformer for texts, or for transcripts that are still to be made."""
    if transcription is None:
        return default_model(texts)
    language = transcription.language or ("en" if Path(transcription.model).name.endswith(".en") else None)
    return {"en": ENGLISH, "zh": CHINESE}.get(language or "", MULTILINGUAL)


def default_vision(clips: Sequence[Clip], openface: str | None) -> str:
    """``face`` if there are videos, no table of OpenFace and no program of it, and the extra is installed; otherwise ``cues``."""
    if openface is not None or any(clip.openface is not None for clip in clips):
        return "cues"
    installed = all(find_spec(package) is not None for package in FACES[0].needs)
    return FACES[0].name if installed and any(clip.video is not None for clip in clips) else "cues"


def check_ready(recipe: Recipe, clips: Sequence[Clip]) -> None:
    """Check before extraction by an existing recipe that nothing fails which every clip needs.

    Raises:
        ImderError: a package or the transformer is missing, or the first table lacks columns.
    """
    for extractor, part in parts_of(recipe).values():
        if any(extractor.applies(clip, None) for clip in clips):
            require_packages(extractor)
        if isinstance(part, FaceRecipe) and any(extractor.applies(clip, None) for clip in clips):
            bundle_of(part.model, part.fingerprint)
        if extractor is OPENFACE:
            assert isinstance(part, VisionRecipe)
            _check_first_table(clips, part.columns)
        if isinstance(part, SpeechRecipe) and any(clip.has["audio"] for clip in clips):
            encoder_of_recipe(part)
        spoken = recipe.transcription is not None and any(needs_transcript(clip) for clip in clips)
        if extractor is TRANSFORMER and (spoken or any(clip.has["language"] for clip in clips)):
            assert isinstance(part, LanguageRecipe)
            encoder_of(part.model, part.fingerprint)
    if recipe.transcription is not None and any(needs_transcript(clip) for clip in clips):
        whisper_of(recipe.transcription.model, recipe.transcription.fingerprint)


def usable_recipe(recipe: Recipe, clips: Sequence[Clip], notify: Notify) -> tuple[Recipe, dict[str, str]]:
    """A recipe without the modalities whose package or model is missing, and the reason for each of them.

    A modality that clips have a text, a table, a sound file or frames for isn't left out: it was asked for.

    Args:
        recipe: the recipe of a run.
        clips: all clips.
        notify: called with a sentence for each modality that is left out.

    Raises:
        ImderError: something that was asked for is missing, or nothing is left.
    """
    absent: dict[str, str] = {}
    for name in recipe.dims:
        try:
            check_ready(recipe.only({name}), clips)
        except ImderError as error:
            others = recipe.dims.keys() - absent.keys() - {name}
            left = any(
                clip.has[other] or (other == "language" and clip.has["audio"]) for clip in clips for other in others
            )
            if not left or any(_asked_for(clip, name) for clip in clips):
                raise
            absent[name] = str(error)
            notify(f"{name} will be missing: {error}")
    return (recipe.only(recipe.dims.keys() - absent.keys()) if absent else recipe), absent


def _asked_for(clip: Clip, name: str) -> bool:
    """Whether a clip has something for a modality alone, not only a video that has several."""
    sources = {
        "language": (clip.text, clip.text_file),
        "vision": (clip.openface, clip.frames),
        "audio": (clip.audio, clip.sound),
    }
    return any(source is not None for source in sources[name])


def _check_first_table(clips: Sequence[Clip], columns: str) -> None:
    """Raise an `ImderError` if the first readable table lacks columns, since all tables probably do."""
    for clip in clips:
        if clip.openface is not None:
            try:
                names = read_header(clip.openface)
            except ImderError:
                continue  # a failure of that clip
            check_columns(clip.openface, names, columns)
            return
