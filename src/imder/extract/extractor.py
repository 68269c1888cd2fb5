"""Extractors of features, and the features that they return for a clip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.extract.manifest import Clip
from imder.extract.media import NoSoundTrack, Sound
from imder.extract.recipe import AudioRecipe, LanguageRecipe, VisionRecipe
from imder.types import ImderError

Part = LanguageRecipe | VisionRecipe | AudioRecipe
"""The part of a recipe that belongs to one modality."""


@dataclass(frozen=True)
class ClipFeatures:
    """The features of one modality of a clip.

    Attributes:
        features: ``(T, D)`` float32, at least one frame; None if the clip has nothing to extract from.
        times: ``(T,)`` times of the frames in seconds; None for frames without times.
        frame_seconds: length of a frame with times.
        seconds: duration of the sound or video.
        text: the clip's words (language).
        tokens: ``(T,)`` int64 ids of the text's tokens (language).
        untracked: number of frames without a tracked face (vision).
        remark: a remark for the user; empty if there is none.
    """

    features: NDArray[np.float32] | None
    times: NDArray[np.float64] | None = None
    frame_seconds: float = 0.0
    seconds: float = 0.0
    text: str | None = None
    tokens: NDArray[np.int64] | None = None
    untracked: int = 0
    remark: str = ""


@dataclass(frozen=True)
class Extractor:
    """One way to turn a modality of raw media into features.

    Attributes:
        name: as in ``imder extract --audio NAME``.
        modality: ``language``, ``vision`` or ``audio``.
        recipe: the recipe's part for the text of the option and the greatest number of tokens of a text.
        applies: whether a clip has something to extract from, given OpenFace's program or None.
        make: the features of a clip under a recipe's part, given OpenFace's program or None. Raises an `ImderError` for a
            damaged file, which fails this modality of this clip only.
        needs: packages that must be installed.
        extra: the extra of this package that installs them.
    """

    name: str
    modality: str
    recipe: Callable[[str, int], Part]
    applies: Callable[[Clip, str | None], bool]
    make: Callable[[Clip, Any, str | None], ClipFeatures]
    needs: tuple[str, ...] = ()
    extra: str = "extract"


def sound_extractor(
    recipe: AudioRecipe,
    frames: Callable[[Sound, AudioRecipe], NDArray[np.float32]],
    *,
    needs: tuple[str, ...] = (),
    extra: str = "extract",
) -> Extractor:
    """An extractor of sound from a function that computes its frames.

    Args:
        recipe: rate, hop, window and width of the frames; ``recipe.kind`` is the extractor's name.
        frames: from a sound to ``(T, D)`` float32, frame t at ``t * hop / rate`` seconds.
        needs: packages beyond soundfile, soxr and PyAV, which read the sound.
        extra: the extra of this package that installs them.
    """

    def make(clip: Clip, part: AudioRecipe, openface: str | None) -> ClipFeatures:
        del openface
        source = clip.sound_source
        assert source is not None
        sound = Sound(source, part.rate)
        try:
            features = frames(sound, part)
        except NoSoundTrack:
            if clip.audio is not None or clip.video is None:
                raise
            return ClipFeatures(None, remark=f"{clip.video.name}: a video without sound")
        if not np.isfinite(features).all():
            raise ImderError(f"{source}: the features are not finite")
        frame_seconds = part.hop / part.rate
        times = np.arange(len(features), dtype=np.float64) * frame_seconds
        sounding = np.ones(len(times), bool)
        for start, end in sound.gaps:  # silence that the file doesn't hold
            sounding &= (times < start) | (times >= end)
        sounding[-1] |= not sounding.any()  # sound shorter than a frame
        features, times = features[sounding], times[sounding]
        return ClipFeatures(features, times, frame_seconds, sound.seconds, remark="; ".join(sound.remarks))

    return Extractor(
        recipe.kind,
        "audio",
        recipe=lambda option, max_tokens: recipe,
        applies=lambda clip, openface: clip.has["audio"],
        make=make,
        needs=(*needs, "soundfile", "soxr", "av"),
        extra=extra,
    )
