"""A first clip in memory, so that what is loaded and prepared on first use doesn't delay the first real one."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from imder.extract.clip import Extracted, extract_clip
from imder.extract.decoded import DecodedFrames, DecodedSound
from imder.extract.extractors import parts_of, require_packages
from imder.extract.face.extractor import bundle_of
from imder.extract.manifest import Clip
from imder.extract.recipe import FaceRecipe, Recipe
from imder.extract.speech.whisper import whisper_of
from imder.inference.options import PredictOptions
from imder.media.clips import ExtractedClip, predict_parts, split_of
from imder.models.base import Model
from imder.types import ImderError

_RATE = 16000
_FRAMES = 4


def warm_up(model: Model, recipe: Recipe) -> None:
    """Extract a clip of noise by a recipe, and predict every combination of its modalities.

    Raises:
        ImderError: a package or a model of the recipe is missing.
    """
    for extractor, part in parts_of(recipe).values():
        require_packages(extractor)
        if isinstance(part, FaceRecipe):  # noise has no face, so only the detector would run
            bundle = bundle_of(part.model, part.fingerprint)
            bundle.mesh(np.zeros((1, 256, 256, 3), np.float32))
            bundle.blendshapes(np.zeros((1, 146, 2), np.float32))
    random = np.random.default_rng(0)
    sound = DecodedSound(0.1 * random.standard_normal(_RATE).astype(np.float32), _RATE)
    images = random.integers(0, 256, (_FRAMES, 240, 320, 3)).astype(np.uint8)
    clip = Clip("warm-up", text="a" if recipe.language is not None else None, sound=sound)
    clip = replace(clip, frames=DecodedFrames((np.arange(_FRAMES) / 10, images)))
    extracted = extract_clip(clip, replace(recipe, transcription=None))
    for name, reason in extracted.failures.items():
        raise ImderError(f"{name}: {reason}")
    if (spoken := recipe.transcription) is not None:
        whisper_of(spoken.model, spoken.fingerprint).transcribe(sound.samples[:, 0], spoken.language)
    _predict(model, recipe, extracted)


def _predict(model: Model, recipe: Recipe, extracted: Extracted) -> None:
    """Predict every combination of modalities; those without features are noise, as of a single frame."""
    features = {name: np.zeros((1, dim), np.float32) for name, dim in recipe.dims.items()} | extracted.features
    clips = []
    for count in range(1, len(features) + 1):
        for names in itertools.combinations(features, count):
            tokens = extracted.tokens if "language" in names else None
            kept = {name: features[name] for name in names}
            clips.append(ExtractedClip(Clip("+".join(names)), kept, tokens, extracted.text or ""))
    for clip in clips:
        for _ in predict_parts(model, [split_of([clip], recipe)], PredictOptions()):
            pass
