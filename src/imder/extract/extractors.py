"""The table of extractors, and those of other packages by their entry points."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from imder.extract.audio import LIBROSA33, MEL64
from imder.extract.egemaps import EGEMAPS
from imder.extract.extractor import Extractor, Part
from imder.extract.face.extractor import FACES
from imder.extract.language import MAX_TOKENS, TRANSFORMER
from imder.extract.manifest import Clip
from imder.extract.recipe import Recipe
from imder.extract.speech.encoders import SPEECH_TRANSFORMER, WHISPER
from imder.extract.vision import OPENFACE
from imder.types import ImderError

GROUP = "imder.extractors"
"""The group of entry points; each names an `Extractor`."""

NONE = "none"
"""The option that leaves a modality out."""

EXTRACTORS: list[Extractor] = [
    TRANSFORMER,
    OPENFACE,
    *FACES,
    LIBROSA33,
    MEL64,
    EGEMAPS,
    WHISPER,
    SPEECH_TRANSFORMER,
]
"""Every extractor of this package, one row each."""

_ANY_OPTION = {"language": TRANSFORMER, "vision": OPENFACE}
"""Extractors whose option is a transformer or columns, not an extractor's name."""


def find_extractor(modality: str, option: str) -> Extractor:
    """The extractor of a modality for the text of its option.

    Args:
        modality: ``language``, ``vision`` or ``audio``.
        option: the name of an extractor, for speech models with a colon and the model (``whisper:tiny``); for language also
            a transformer, for vision columns of OpenFace, for audio a speech model (``microsoft/wavlm-base-plus``, FOLDER).

    Raises:
        ImderError: there is no such extractor.
    """
    for extractor in EXTRACTORS:
        if extractor.modality == modality and extractor.name in (option, option.partition(":")[0]):
            return extractor
    for extractor in _installed(option, tuple(sys.path)):
        if extractor.modality == modality:
            return extractor
    if modality in _ANY_OPTION:
        return _ANY_OPTION[modality]
    if modality == "audio" and ("/" in option or Path(option).is_dir()):
        return SPEECH_TRANSFORMER
    known = ", ".join(extractor.name for extractor in EXTRACTORS if extractor.modality == modality)
    raise ImderError(f"--{modality}: unknown kind {option!r}; known are {known} and {NONE}")


def extractor_of(modality: str, part: Part) -> Extractor:
    """The extractor that follows a recipe's part."""
    option: Any = {"language": "model", "vision": "columns", "audio": "kind"}[modality]
    return find_extractor(modality, getattr(part, option))


def recipe_of(modality: str, option: str, max_tokens: int = MAX_TOKENS) -> Any:
    """The part of a recipe for the text of an option.

    Raises:
        ImderError: there is no such extractor, or it refuses the option.

    >>> recipe_of("audio", "mel64").dim, recipe_of("vision", "cues").dim
    (64, 49)
    """
    return find_extractor(modality, option).recipe(option, max_tokens)


def parts_of(recipe: Recipe) -> dict[str, tuple[Extractor, Part]]:
    """For each modality of a recipe its extractor and its part, in the order of a corpus."""
    parts: dict[str, Part | None] = {"language": recipe.language, "vision": recipe.vision, "audio": recipe.audio}
    return {name: (extractor_of(name, part), part) for name, part in parts.items() if part is not None}


def leaves_video_unused(recipe: Recipe, clip: Clip, openface: str | None) -> bool:
    """Whether a clip's picture can't be used although the recipe has vision: it has no table and there is no program."""
    if recipe.vision is None or clip.video is None:
        return False
    return not extractor_of("vision", recipe.vision).applies(clip, openface)


def require_packages(extractor: Extractor) -> None:
    """Raise an `ImderError` if a package that an extractor needs is not installed."""
    for package in extractor.needs:
        if find_spec(package) is None:
            raise ImderError(
                f"--{extractor.modality} {extractor.name} needs {package}: pip install '.[{extractor.extra}]'"
            )


@cache
def _installed(name: str, path: tuple[str, ...]) -> list[Extractor]:
    """Extractors of this name in other packages; ``path`` (`sys.path`) is part of the cache's key."""
    del path
    extractors = []
    for point in entry_points(group=GROUP, name=name):
        package = f"package {point.dist.name}" if point.dist else point.value
        try:
            extractor = point.load()
        except Exception as error:  # anything can happen in a foreign package
            raise ImderError(
                f"{package}: its extractor {name!r} can't be loaded ({type(error).__name__}: {error})"
            ) from None
        if not isinstance(extractor, Extractor):
            raise ImderError(f"{package}: its extractor {name!r} is no imder.extract.extractor.Extractor")
        extractors.append(extractor)
    return extractors
