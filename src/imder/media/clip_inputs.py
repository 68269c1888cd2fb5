"""Clips as they are given: from files, arrays and a text, or those of a manifest or folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imder.extract.decoded import DecodedFrames, DecodedSound
from imder.extract.manifest import Clip, read_source
from imder.extract.recipe import Recipe
from imder.types import ImderError

AudioInput = str | Path | tuple[Any, int]
"""A sound file, or samples ``(n,)`` or ``(n, channels)`` and their rate."""


@dataclass(frozen=True)
class SelectedClips:
    """Clips to predict, and the recipe of their features.

    Attributes:
        clips: the clips.
        same_speakers: other clips of their speakers, for standardisation by speaker.
        recipe: without the modalities whose package or model is missing.
        remarks: (id, modality, reason) of clips that have such a modality.
    """

    clips: tuple[Clip, ...]
    same_speakers: tuple[Clip, ...]
    recipe: Recipe
    remarks: list[tuple[str, str, str]]


def clip_from(
    *,
    video: str | Path | None = None,
    audio: AudioInput | None = None,
    frames: Any = None,
    text: str | None = None,
    openface: str | Path | None = None,
    name: str | None = None,
) -> Clip:
    """A clip, with the name of its first file if ``name`` isn't given.

    Raises:
        ImderError: nothing was given, a file is missing, an array isn't one of sound, or the text is empty.
    """
    if text is not None and not isinstance(text, str):
        raise ImderError(f"a text is a string, got {text!r}")
    if text is not None and not text.strip():
        raise ImderError("the text is empty; leave it out if the words are unknown")
    if frames is not None and video is not None:
        raise ImderError("give a video file or frames, not both; the sound of the video goes with them as audio=FILE")
    sound = None
    if audio is not None and not isinstance(audio, str | Path):
        if not isinstance(audio, tuple) or len(audio) != 2:
            raise ImderError(f"audio: a file or a pair (samples, rate) is needed, got {type(audio).__name__}")
        sound, audio = DecodedSound(*audio), None
    video_, audio_, openface_ = files = [
        None if file is None else Path(file).expanduser() for file in (video, audio, openface)
    ]
    for file in files:
        if file is not None and not file.is_file():
            raise ImderError(f"{file}: there is no such file")
    stem = next((file.stem for file in files if file is not None), "clip")
    clip = Clip(
        name or stem,
        video_,
        audio_,
        openface_,
        text=None if text is None else text.strip(),
        sound=sound,
        frames=None if frames is None else DecodedFrames(frames),
    )
    if not any(clip.has.values()):
        raise ImderError("nothing to predict from: a clip has a video, sound, frames, a text or a table of OpenFace")
    return clip


def clips_from(source: str | Path | Sequence[Clip], split: str | None) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """All clips of a manifest, folder or sequence, and those of ``split`` (all of them if it is None).

    Raises:
        ImderError: the manifest is invalid, something in the sequence is no clip, or the split has no clips.
    """
    given = read_source(source) if isinstance(source, str | Path) else tuple(source)
    for clip in given:
        if not isinstance(clip, Clip):
            raise ImderError(f"clips are made with Predictor.clip(video=, audio=, text=, openface=), not {clip!r}")
    clips = given if split is None else tuple(clip for clip in given if clip.split == split)
    if not clips:
        where = f"{source}: " if isinstance(source, str | Path) else ""
        splits = sorted({clip.split for clip in given if clip.split is not None})
        advice = f"there are {', '.join(splits)}" if splits else "they have no splits"
        raise ImderError(where + ("no clips" if split is None else f"no clip is of the split {split!r}; {advice}"))
    return given, clips
