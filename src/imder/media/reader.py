"""Clips and recordings, read by the recipe of a run: what is given is checked, and the recipe is fitted to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from imder.data.compatible import extracted
from imder.extract.choose import NONE, check_ready, usable_recipe
from imder.extract.decoded import DecodedSound
from imder.extract.extractors import parts_of
from imder.extract.manifest import Clip
from imder.extract.recipe import Recipe
from imder.extract.vision import find_openface
from imder.media.clip_inputs import AudioInput, SelectedClips, clip_from, clips_from
from imder.media.media_recipe import MediaOptions, given_options, media_recipe, with_transcription
from imder.media.recording import Recording, read_recording
from imder.media.transcript import read_transcript
from imder.types import ImderError

SPOKEN = Clip("spoken", sound=DecodedSound(np.zeros(1, np.float32), 1))
"""Stands for any clip with sound and no text."""
WRITTEN = Clip("written", text="a")
"""Stands for any clip with a text."""


class MediaReader:
    """Reads media for a run.

    Args:
        recipe: the recipe of the features of the run's corpus; None if that is unknown.
        run: its name in messages.
        options: models that have moved, and speech to text.

    Attributes:
        openface: OpenFace's program, if there is one.

    Raises:
        ImderError: an option names something that isn't there, or is about something that the run doesn't read.
    """

    def __init__(self, recipe: Mapping[str, Any] | None, run: str, options: MediaOptions) -> None:
        self._recipe, self._run, self._options = recipe, run, options
        self.openface = find_openface(options.openface)
        if given_options(options):
            media_recipe(recipe, options, run)  # options in vain are refused now, not with the first clip

    def ignoring(self, names: Collection[str]) -> MediaReader:
        """A reader that leaves these modalities out too, and transcribes nothing without audio."""
        other = copy(self)
        other._options = replace(self._options, ignored=self._options.ignored | frozenset(names))
        return other

    @property
    def recipe(self) -> Recipe:
        """The recipe of media, as far as it doesn't depend on them.

        Raises:
            ImderError: the run has none, or an option is about something that it doesn't read.
        """
        return media_recipe(self._recipe, self._options, self._run)

    def recipe_for(self, clips: Sequence[Clip]) -> Recipe:
        """The recipe of these clips: with speech to text where they need it.

        Raises:
            ImderError: as `recipe`, or what was asked for is missing.
        """
        return with_transcription(self.recipe, clips, self._options)

    def stream_recipe(self) -> Recipe | None:
        """The recipe of a live stream, its models loaded; None where features can only be pushed.

        Raises:
            ImderError: as `recipe`, or a package or model is missing.
        """
        if self._recipe is None or not extracted(self._recipe):
            return None
        recipe = self.recipe
        check_ready(recipe, [WRITTEN] if recipe.language is not None else [])
        return recipe

    def clip(
        self,
        *,
        video: str | Path | None = None,
        audio: AudioInput | None = None,
        frames: Any = None,
        text: str | None = None,
        openface: str | Path | None = None,
        name: str | None = None,
    ) -> Clip:
        """A clip from files, arrays and a text (`imder.media.clip_inputs.clip_from`).

        Raises:
            ImderError: a file can't be used, nothing was given, or something that the run doesn't read.
        """
        clip = clip_from(video=video, audio=audio, frames=frames, text=text, openface=openface, name=name)
        recipe = self.recipe
        if text is not None and self._options.language == NONE:
            raise ImderError("the text is not read with language 'none'; leave one of the two out")
        modalities = {"language": text, "vision": openface if frames is None else frames, "audio": audio}
        for modality, given in modalities.items():
            if given is not None and modality not in recipe.dims:
                raise ImderError(f"{self._run} knows {', '.join(recipe.dims)}, not {modality}: leave it out")
        if frames is not None and not parts_of(recipe)["vision"][0].applies(replace(clip, openface=None), None):
            raise ImderError(f"frames: {self._run} reads columns of OpenFace, which come from its table or program")
        table = replace(clip, video=None, frames=None)
        if openface is not None and not parts_of(recipe)["vision"][0].applies(table, None):
            raise ImderError(f"openface: {self._run} reads pictures, no table of OpenFace; leave it out")
        return clip

    def select(self, source: str | Path | Sequence[Clip], split: str | None) -> SelectedClips:
        """The clips of a manifest, folder or sequence, or those of a split.

        Raises:
            ImderError: the manifest is invalid, there are no such clips, something that every clip needs is missing, or a clip
                has no speaker although features are standardised by speaker.
        """
        by_speaker = self.recipe.by_speaker
        given, clips = clips_from(source, split)
        for clip in clips:
            if clip.speaker is None:
                self.check_alone([name for name, has in clip.has.items() if has], f"clip {clip.id!r}")
        same_speakers: tuple[Clip, ...] = ()
        if split is not None and by_speaker:
            speakers = {clip.speaker for clip in clips if clip.speaker is not None}
            same_speakers = tuple(clip for clip in given if clip.split != split and clip.speaker in speakers)
        everything = (*clips, *same_speakers)
        recipe, absent = usable_recipe(self.recipe_for(everything), everything, self._options.notify)
        remarks = [(clip.id, name, reason) for clip in clips for name, reason in absent.items() if clip.has[name]]
        return SelectedClips(clips, same_speakers, recipe, remarks)

    def recording(
        self,
        *,
        text: str | None = None,
        transcript: str | Path | None = None,
        name: str | None = None,
        **media: Any,
    ) -> Recording:
        """The features of a long recording and their times: see `imder.media.predictor.Predictor.read_recording`."""
        if text is not None and transcript is not None:
            raise ImderError("give either a text or a transcript, not both")
        timed = None if transcript is None else read_transcript(transcript)
        words = text if timed is None else timed.cues[0].text  # any words, so that the language model is checked
        if transcript is not None and all(given is None for given in media.values()):
            name = name or Path(transcript).stem
        clip = self.clip(text=words, name=name, **media)
        self.check_alone([name for name, has in clip.has.items() if has], f"recording {clip.id!r}")
        recipe, absent = usable_recipe(self.recipe_for([clip]), [clip], self._options.notify)
        clip = clip if timed is None else replace(clip, text=None)
        recording = read_recording(clip, recipe, transcript=timed, openface=self.openface)
        return replace(recording, remarks=(*absent.items(), *recording.remarks))

    def check_alone(self, modalities: Collection[str], what: str) -> None:
        """Raise an `ImderError` if media without a speaker have a modality that is standardised by speaker."""
        by_speaker = self.recipe.by_speaker
        for name in modalities:
            if name in by_speaker:
                raise ImderError(
                    f"{what}: {self._run} reads {name} standardised by speaker, over all clips of each, but this has "
                    "no speaker; predict a manifest with a column 'speaker' and the speaker's other clips in it"
                )
