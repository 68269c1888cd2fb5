"""A clip from files, arrays and a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imder.extract.decoded import DecodedFrames, DecodedSound
from imder.extract.manifest import Clip
from imder.types import ImderError

AudioInput = str | Path | tuple[Any, int]
"""A sound file, or samples ``(n,)`` or ``(n, channels)`` and their rate."""


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
    files = [None if file is None else Path(file).expanduser() for file in (video, audio, openface)]
    for file in files:
        if file is not None and not file.is_file():
            raise ImderError(f"{file}: there is no such file")
    stem = next((file.stem for file in files if file is not None), "clip")
    clip = Clip(
        name or stem,
        *files,
        text=None if text is None else text.strip(),
        sound=sound,
        frames=None if frames is None else DecodedFrames(frames),
    )
    if not any(clip.has.values()):
        raise ImderError("nothing to predict from: a clip has a video, sound, frames, a text or a table of OpenFace")
    return clip
