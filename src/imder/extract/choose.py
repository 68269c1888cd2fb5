"""The recipe that a user asks for, given what the clips have; everything that can be wrong with it is said before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec

from imder.extract.audio import audio_recipe
from imder.extract.language import MAX_TOKENS, TextEncoder, default_model, encoder_of
from imder.extract.manifest import Clip
from imder.extract.openface import check_columns, read_header
from imder.extract.recipe import AudioKind, Recipe, versions
from imder.extract.vision import vision_recipe
from imder.types import ImderError

NONE = "none"


def choose_recipe(
    clips: Sequence[Clip],
    *,
    language: str | None = None,
    max_tokens: int = MAX_TOKENS,
    audio: str = "librosa33",
    vision: str = "cues",
    openface: str | None = None,
) -> Recipe:
    """The recipe for these clips; a modality that none of them has, or that is ``none``, isn't part of it.

    Args:
        clips: what there is.
        language: a transformer's name or folder; None for BERT of the texts' language.
        max_tokens: of a text, special tokens counted.
        audio: ``librosa33``, ``mel64`` or ``egemaps``.
        vision: columns of OpenFace (`imder.extract.openface.columns_of`).
        openface: OpenFace's program, which can make tables of videos.

    Raises:
        ImderError: an option isn't known, a package or model is missing, the first table lacks columns, or fewer than two
            modalities are left.
    """
    texts = [clip.text for clip in clips if clip.text is not None]
    wanted = {
        "language": language != NONE and any(clip.has["language"] for clip in clips),
        "vision": vision != NONE
        and any(clip.openface is not None or (clip.video is not None and openface is not None) for clip in clips),
        "audio": audio != NONE and any(clip.has["audio"] for clip in clips),
    }
    made = Recipe(
        vision=vision_recipe(vision) if wanted["vision"] else None,
        audio=audio_recipe(_kind(audio)) if wanted["audio"] else None,
        versions=versions(),
    )
    if sum(wanted.values()) < 2:
        here = ", ".join(name for name, is_wanted in wanted.items() if is_wanted)
        raise ImderError(
            f"a corpus needs at least two modalities, these clips have only {here or 'none'} "
            "(vision needs tables of OpenFace, or its program with --openface)"
        )
    if made.audio is not None:
        _require_sound(made.audio.kind)
    if made.vision is not None:
        _try_first_table(clips, vision)
    if not wanted["language"]:
        return made
    if max_tokens < 3:
        raise ImderError(f"--max-tokens: at least 3 (two of them special), got {max_tokens}")
    encoder = TextEncoder(language or default_model(texts))
    return replace(made, language=encoder.recipe(max_tokens))


def check_ready(recipe: Recipe, clips: Sequence[Clip]) -> None:
    """What would fail for every clip alike when these clips follow a recipe that exists, said before any work.

    Raises:
        ImderError: a package or the transformer is missing, or the first table lacks columns.
    """
    if recipe.audio is not None and any(clip.has["audio"] for clip in clips):
        _require_sound(recipe.audio.kind)
    if recipe.vision is not None:
        _try_first_table(clips, recipe.vision.columns)
    if recipe.language is not None and any(clip.has["language"] for clip in clips):
        encoder_of(recipe.language.model, recipe.language.fingerprint)


def _kind(name: str) -> AudioKind:
    return name  # type: ignore[return-value] # audio_recipe says which it knows


def _require_sound(kind: AudioKind) -> None:
    for name in ("librosa", "soundfile", "av", *(("opensmile",) if kind == "egemaps" else ())):
        if find_spec(name) is None:
            extra = "egemaps" if name == "opensmile" else "extract"
            raise ImderError(f"extraction of sound needs {name}: pip install 'imder[{extra}]'")


def _try_first_table(clips: Sequence[Clip], columns: str) -> None:
    """Other columns than the tables have would fail for every clip alike: the first that can be read stands for all."""
    for clip in clips:
        if clip.openface is not None:
            try:
                names = read_header(clip.openface)
            except ImderError:
                continue  # a failure of that clip
            check_columns(clip.openface, names, columns)
            return
