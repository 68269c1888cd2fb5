"""Everything of one clip: what could be taken from it, what failed and why, what should be known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.extract.audio import audio_features
from imder.extract.language import encoder_of
from imder.extract.manifest import Clip, read_text
from imder.extract.media import NoSoundTrack, Sound
from imder.extract.openface import Tracked, read_openface
from imder.extract.recipe import AudioRecipe, Recipe
from imder.extract.vision import track
from imder.types import ImderError


@dataclass
class Extracted:
    """What was made of a clip.

    Attributes:
        features: for each modality that is there ``(T, D)`` float32, at least one frame.
        tokens: ``(T,)`` int64 ids of the text's tokens; None without language.
        text: what was said; None where nothing was.
        failures: for each modality that should be there and isn't, why.
        remarks: for a modality, what its user should know.
        untracked: frames of the face that were left out.
        times: for modalities whose frames are known to lie in time ``(T,)`` seconds. Not kept on disk, like the next:
            corpora have no times.
        frame_seconds: for each of them the length of a frame.
        seconds: how long the longest of them is.
    """

    features: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    tokens: NDArray[np.int64] | None = None
    text: str | None = None
    failures: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    untracked: int = 0
    times: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    frame_seconds: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def extract_clip(clip: Clip, recipe: Recipe, openface: str | None = None) -> Extracted:
    """Follow a recipe for one clip. What is wrong with the clip becomes a failure of the modality, not an exception.

    Args:
        clip: where everything is.
        recipe: modalities that it lacks are left out.
        openface: OpenFace's program, to be run on videos that have no table.
    """
    out = Extracted(text=clip.text)
    steps: dict[str, Callable[[], None]] = {}
    if recipe.language is not None and clip.has["language"]:
        steps["language"] = lambda: _language(clip, recipe, out)
    if recipe.vision is not None and (clip.openface is not None or (clip.video is not None and openface is not None)):
        steps["vision"] = lambda: _vision(clip, recipe, openface, out)
    if recipe.audio is not None and clip.has["audio"]:
        audio = recipe.audio
        steps["audio"] = lambda: _audio(clip, audio, out)
    for name, step in steps.items():
        try:
            step()
        except ImderError as error:
            out.failures[name] = " ".join(str(error).split())
        except MemoryError:
            out.failures[name] = "out of memory"
        except Exception as error:  # whatever a decoder says of a damaged file: one clip, not the batch
            out.failures[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
    return out


def _language(clip: Clip, recipe: Recipe, out: Extracted) -> None:
    part: Any = recipe.language
    text = clip.text
    if text is None and clip.text_file is not None:
        text = read_text(clip.text_file).strip()
    if not text:
        out.remarks["language"] = "the text is empty"
        return
    out.text = text
    out.features["language"], out.tokens = _finite(encoder_of(part.model, part.fingerprint)(text, part.max_tokens))


def _finite(made: tuple[NDArray[np.float32], NDArray[np.int64]]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    if not np.isfinite(made[0]).all():
        raise ImderError("the transformer gives values that are not finite")
    return made


def _audio(clip: Clip, recipe: AudioRecipe, out: Extracted) -> None:
    file = clip.audio or clip.video
    assert file is not None
    sound = Sound(file, recipe.rate)
    try:
        found = audio_features(sound, recipe)
    except NoSoundTrack:
        if clip.audio is not None:
            raise
        out.remarks["audio"] = f"{file.name}: a video without sound"
        return
    if not np.isfinite(found).all():
        raise ImderError(f"{file}: the features are not finite")
    out.features["audio"] = found
    out.frame_seconds["audio"] = recipe.hop / recipe.rate
    out.times["audio"] = np.arange(len(found), dtype=np.float64) * out.frame_seconds["audio"]
    out.seconds = max(out.seconds, sound.seconds)
    if sound.remarks:
        out.remarks["audio"] = "; ".join(sound.remarks)


def _vision(clip: Clip, recipe: Recipe, openface: str | None, out: Extracted) -> None:
    part = recipe.vision
    assert part is not None
    found: Tracked
    if clip.openface is not None:
        found = read_openface(clip.openface, part.columns)
    else:
        assert clip.video is not None
        assert openface is not None
        found = track(clip.video, openface, part)
    out.untracked = found.untracked
    if found.times is not None and found.seconds is not None:
        out.times["vision"], out.frame_seconds["vision"] = found.times, found.frame_seconds or 0.0
        out.seconds = max(out.seconds, found.seconds)
    said = []
    if found.broken_off:
        said.append("the last row breaks off, read up to it")
    if found.faces > 1:
        said.append(f"{found.faces} faces, the one with the largest mean confidence taken")
    if found.untracked:
        said.append(f"{found.untracked} frames without a tracked face left out")
    if len(found.values):
        out.features["vision"] = found.values
    else:
        said.append("no frame is left")
    if said:
        out.remarks["vision"] = "; ".join(said)
