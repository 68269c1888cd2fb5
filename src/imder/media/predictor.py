"""A trained system, loaded once, for corpora, clips and recordings.

A run records the recipe of its corpus' features (`imder.training.run`). Features of media are extracted by that recipe, and
a corpus with another recipe is refused. A run on features that ``imder extract`` didn't make predicts corpora only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imder.calibration.describe import LEVEL
from imder.data.compatible import extracted
from imder.data.corpus import Corpus, Split
from imder.extract.choose import NONE, check_ready, usable_recipe
from imder.extract.decoded import DecodedSound
from imder.extract.extractors import parts_of
from imder.extract.manifest import Clip
from imder.extract.recipe import Recipe
from imder.extract.speech.plan import Notify
from imder.extract.vision import find_openface
from imder.inference.options import PredictOptions
from imder.inference.predict import Row, predict_data
from imder.inference.selection import Available, Progress
from imder.media.clip_inputs import AudioInput, clip_from, clips_from
from imder.media.clips import ClipPredictions, predict_clips
from imder.media.live.engine import StreamOptions
from imder.media.media_recipe import MediaOptions, media_recipe, with_transcription
from imder.media.recording import Recording, read_recording
from imder.media.stream import Answer, Stream
from imder.media.transcript import read_transcript
from imder.media.warm_up import warm_up
from imder.media.windows import MIN_COVERAGE, predict_windows
from imder.models.base import Model
from imder.rows import Rows
from imder.training.trained import TrainedModel
from imder.types import ImderError


class Predictor:
    """A trained system with the recipe of its features.

    Args:
        model: the system, or the folder (or hub id) it is loaded from.
        device: the device of the system; the transformer of texts stays on the CPU.
        recipe: the recipe of its features (`imder.data.corpus.Corpus.recipe`); by default that of the folder, if any.
        language: folder or name of the recipe's transformer, if it has moved; ``none`` to ignore texts.
        openface: OpenFace's program or its folder, for videos without a table; by default the one on PATH, if any.
        face_model: the file of the models of faces, if the recipe's has moved.
        name: its name in messages.
        transcribe: speech to text for clips without a text: None where it is installed, True to insist, False for no.
        asr_model: the Whisper model of transcripts, and of features of sound by the same weights; None for the recipe's.
        asr_language: the code of the language spoken; None for the recipe's, or to detect it in each clip.
        audio_model: the speech model of the features of sound, if the recipe's has moved.
        notify: called with a sentence if clips stay without language that could have it.

    Raises:
        ImderError: the folder holds no finished system, or there is no such program.
    """

    def __init__(
        self,
        model: Model | str | Path,
        device: torch.device | str = "cpu",
        *,
        recipe: Mapping[str, Any] | None = None,
        language: str | None = None,
        openface: str | None = None,
        face_model: str | None = None,
        name: str | None = None,
        transcribe: bool | None = None,
        asr_model: str | None = None,
        asr_language: str | None = None,
        audio_model: str | None = None,
        notify: Notify = lambda message: None,
    ) -> None:
        trained = TrainedModel.load(model, device, name=name)
        self._trained = trained if recipe is None else replace(trained, recipe=recipe)
        self._options = MediaOptions(language, audio_model, transcribe, asr_model, asr_language, notify, face_model)
        self._openface = find_openface(openface)

    def __repr__(self) -> str:
        spec = self.model.spec
        of = f"{self.model.system}, {spec.task} from {', '.join(spec.names)}, on {self.model.device}"
        return f"Predictor({self.name!r}: {of})"

    @property
    def model(self) -> Model:
        """The system, in evaluation mode."""
        return self._trained.model

    @property
    def name(self) -> str:
        """The system's name in messages."""
        return self._trained.name

    @property
    def recipe(self) -> Mapping[str, Any] | None:
        """The recipe of its training corpus' features; None if that corpus is unknown."""
        return self._trained.recipe

    def predict(
        self,
        data: Corpus | Split | str | Path,
        split: str | None = None,
        *,
        available: Available | None = None,
        samples: int | None = None,
        seed: int = 0,
        batch_size: int = 64,
        level: float = LEVEL,
        progress: Progress | None = None,
    ) -> Rows:
        """Predictions for a corpus, a split of samples, or the file of a corpus: see `imder.predict`.

        Raises:
            ImderError: the data don't fit the model, their features follow another recipe, there is no such split, or a
                setting is of the wrong type, shape or range.
        """
        options = PredictOptions(samples, seed, batch_size, level)
        corpus = data if isinstance(data, Split) else self._trained.read(data)
        return predict_data(self.model, corpus, split, options, available=available, progress=progress)

    def warm_up(self) -> None:
        """Load and prepare all that clips need, so that the first one is as fast as the hundredth.

        Raises:
            ImderError: a package or a model of the recipe is missing, or the run has no recipe.
        """
        clip = Clip("warm-up", sound=DecodedSound(np.zeros(1, np.float32), 1))  # stands for any clip without a text
        warm_up(self.model, with_transcription(self._media(), [clip], self._options))

    def predict_clip(
        self,
        *,
        video: str | Path | None = None,
        audio: AudioInput | None = None,
        frames: Any = None,
        text: str | None = None,
        openface: str | Path | None = None,
        name: str | None = None,
        samples: int | None = None,
        seed: int = 0,
        level: float = LEVEL,
    ) -> Row:
        """Predict one clip, which may lack any modalities.

        Args:
            video: a video, used for its sound unless ``audio`` is given, and for the face as the run's recipe
                says (OpenFace's columns need its program or a table).
            audio: a sound file, or a pair of samples ``(n,)`` or ``(n, channels)``, in about [-1, 1] or signed integers, and
                their rate.
            frames: pairs of seconds and RGB images ``(H, W, 3)`` uint8 in any iterable, or a pair of arrays, ``(T,)`` and
                ``(T, H, W, 3)``; upright and with square pixels. Decoded media have the features of the file.
            text: the words.
            openface: OpenFace's table.
            name: the clip's id, which determines the noise of recoveries; by default the file's name.
            samples: number of recoveries; None for the preset's.
            seed: seed of the noise in recoveries.
            level: coverage of the interval or prediction set.

        Returns:
            The columns of `imder.predict`.

        Raises:
            ImderError: nothing was given, a file can't be used, the run has no recipe, or its features are standardised by
                speaker.
        """
        clip = self.clip(video=video, audio=audio, frames=frames, text=text, openface=openface, name=name)
        return self.predict_clips([clip], samples=samples, seed=seed, level=level).only()

    def predict_clips(
        self,
        source: str | Path | Sequence[Clip],
        *,
        split: str | None = None,
        samples: int | None = None,
        seed: int = 0,
        batch_size: int = 64,
        level: float = LEVEL,
        progress: Progress | None = None,
    ) -> ClipPredictions:
        """Predict clips: those of a manifest or folder (`imder.extract.manifest`), or a sequence of clips.

        Clips may lack different modalities. A damaged file fails its modality and is listed in ``failures``. If the run's
        features are standardised by speaker, so are these, over all clips of each speaker in ``source``, including other
        splits; all clips are then in memory at once.

        Raises:
            ImderError: the manifest is invalid, the split has no clips, a package, model or column that every clip needs is
                missing, the run has no recipe, or a clip has no speaker although features are standardised by speaker.
        """
        recipe = self._media()
        given, clips = clips_from(source, split)
        for clip in clips:
            if clip.speaker is None:
                self._refuse_alone(recipe, [name for name, has in clip.has.items() if has], f"clip {clip.id!r}")
        same_speakers: list[Clip] = []
        if split is not None and recipe.by_speaker:
            speakers = {clip.speaker for clip in clips if clip.speaker is not None}
            same_speakers = [clip for clip in given if clip.split != split and clip.speaker in speakers]
        recipe = with_transcription(recipe, [*clips, *same_speakers], self._options)
        recipe, absent = usable_recipe(recipe, [*clips, *same_speakers], self._options.notify)
        options = PredictOptions(samples, seed, batch_size, level)
        made = predict_clips(
            self.model, recipe, clips, options, openface=self._openface, same_speakers=same_speakers, progress=progress
        )
        remarks = [(clip.id, name, reason) for clip in clips for name, reason in absent.items() if clip.has[name]]
        return replace(made, remarks=[*remarks, *made.remarks])

    def read_recording(
        self,
        *,
        video: str | Path | None = None,
        audio: AudioInput | None = None,
        frames: Any = None,
        text: str | None = None,
        transcript: str | Path | None = None,
        openface: str | Path | None = None,
        name: str | None = None,
    ) -> Recording:
        """Extract the features of a long recording, for `predict_windows`.

        Args:
            video: a video, used as in `predict_clip`.
            audio: a sound file, or samples and their rate.
            frames: decoded frames, used as in `predict_clip`.
            text: the words without times, which belong to every window.
            transcript: words with times (`imder.media.transcript`), instead of a text.
            openface: OpenFace's table.
            name: the recording's id.

        Raises:
            ImderError: a file can't be used, nothing in the recording has times, or the run has no recipe.
        """
        recipe = self._media()
        if text is not None and transcript is not None:
            raise ImderError("give either a text or a transcript, not both")
        timed = None if transcript is None else read_transcript(transcript)
        words = text if timed is None else timed.cues[0].text  # any words, so that the language model is checked
        if (
            name is None
            and transcript is not None
            and video is None
            and audio is None
            and frames is None
            and openface is None
        ):
            name = Path(transcript).stem
        clip = self.clip(video=video, audio=audio, frames=frames, text=words, openface=openface, name=name)
        self._refuse_alone(recipe, [name for name, has in clip.has.items() if has], f"recording {clip.id!r}")
        recipe = with_transcription(recipe, [clip], self._options)
        recipe, absent = usable_recipe(recipe, [clip], self._options.notify)
        clip = clip if timed is None else replace(clip, text=None)
        recording = read_recording(clip, recipe, transcript=timed, openface=self._openface)
        return replace(recording, remarks=(*absent.items(), *recording.remarks))

    def predict_windows(
        self,
        recording: Recording,
        window: float,
        hop: float,
        *,
        samples: int | None = None,
        seed: int = 0,
        batch_size: int = 64,
        level: float = LEVEL,
        progress: Progress | None = None,
        min_coverage: float = MIN_COVERAGE,
    ) -> Rows:
        """Predict a time series: see `imder.media.windows.predict_windows`."""
        recipe = self._media()
        self._refuse_alone(recipe, [*recording.features, *recording.timeless], f"recording {recording.clip.id!r}")
        options = PredictOptions(samples, seed, batch_size, level)
        return predict_windows(self.model, recipe, recording, window, hop, options, progress, min_coverage=min_coverage)

    def stream(
        self,
        window: float = 4.0,
        hop: float = 1.0,
        *,
        tolerance: float = 0.5,
        callback: Callable[[Answer], object] | None = None,
        block: bool = False,
        name: str = "stream",
        samples: int | None = None,
        seed: int = 0,
        level: float = LEVEL,
        min_coverage: float = MIN_COVERAGE,
    ) -> Stream:
        """A live stream of predictions, one for each window, from whatever is pushed (`imder.media.stream.Stream`).

        Each window is read as a clip of its own, with the windows before it as its context. A run on features that
        ``imder extract`` didn't make takes `Stream.push_features` only.

        Args:
            window: length of a window in seconds.
            hop: seconds from the start of a window to that of the next.
            tolerance: seconds by which sources may lag behind each other.
            callback: called with each prediction in the stream's thread; None to iterate over the stream.
            block: whether pushes wait while predictions are behind, as for data from files; otherwise they drop data.
            name: the stream's id, which determines the noise of recoveries.
            samples: number of recoveries; None for the preset's.
            seed: seed of the noise in recoveries.
            level: coverage of intervals or prediction sets.
            min_coverage: share of a window that a modality must cover to count as available.

        Raises:
            ImderError: a setting is out of range, or a model of the recipe can't be loaded.
        """
        options = StreamOptions(window, hop, tolerance, min_coverage, name)
        recipe = self._media() if self.recipe is not None and extracted(self.recipe) else None
        if recipe is not None:
            check_ready(recipe, [Clip(name, text="a" if recipe.language is not None else None)])
        return Stream(self.model, recipe, options, PredictOptions(samples, seed, level=level), callback, block=block)

    def _refuse_alone(self, recipe: Recipe, has: Sequence[str], what: str) -> None:
        """Raise an `ImderError` if media without a speaker have a modality that is standardised by speaker."""
        for name in has:
            if name in recipe.by_speaker:
                raise ImderError(
                    f"{what}: {self.name} reads {name} standardised by speaker, over all clips of each, but this has "
                    "no speaker; predict a manifest with a column 'speaker' and the speaker's other clips in it"
                )

    def ignoring(self, names: Collection[str]) -> Predictor:
        """The same system, to which some modalities of media are always missing.

        Without audio, nothing is transcribed either.
        """
        other = copy(self)
        recipe = self.recipe
        if names and recipe is not None:
            other._trained = replace(self._trained, recipe={k: part for k, part in recipe.items() if k not in names})
        if "audio" in names:
            other._options = replace(self._options, transcribe=False)
        return other

    def _media(self) -> Recipe:
        """The recipe for media."""
        return media_recipe(self.recipe, self._options, self.name)

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
        """A clip from files, arrays and a text: see `predict_clip`, also for errors."""
        clip = clip_from(video=video, audio=audio, frames=frames, text=text, openface=openface, name=name)
        recipe = self._media()
        modalities = {"language": text, "vision": openface if frames is None else frames, "audio": audio}
        for modality, given in modalities.items():
            if given is not None and modality == "language" and self._options.language == NONE:
                raise ImderError("the text is not read with language 'none'; leave one of the two out")
            if given is not None and modality not in recipe.dims:
                raise ImderError(f"{self.name} knows {', '.join(recipe.dims)}, not {modality}: leave it out")
        if frames is not None and not parts_of(recipe)["vision"][0].applies(replace(clip, openface=None), None):
            raise ImderError(f"frames: {self.name} reads columns of OpenFace, which come from its table or program")
        return clip
