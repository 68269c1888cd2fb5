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

import torch

from imder.calibration.describe import LEVEL
from imder.data.corpus import Corpus, Split
from imder.extract.manifest import Clip
from imder.extract.speech.plan import Notify
from imder.inference.options import PredictOptions
from imder.inference.predict import Row, predict_data
from imder.inference.selection import Available, Progress
from imder.media.clip_inputs import AudioInput
from imder.media.clips import ClipPredictions, predict_clips
from imder.media.live.engine import StreamOptions
from imder.media.media_recipe import MediaOptions
from imder.media.reader import SPOKEN, MediaReader
from imder.media.recording import Recording
from imder.media.stream import Answer, Stream
from imder.media.warm_up import warm_up
from imder.media.windows import MIN_COVERAGE, predict_windows
from imder.models.base import Model
from imder.rows import Rows
from imder.training.trained import TrainedModel


class Predictor:
    """A trained system with the recipe of its features.

    Args:
        model: the system, or the folder (or hub id) it is loaded from.
        device: the device of the system; models that extract features stay on the CPU.
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
        ImderError: the folder holds no finished system, there is no such program, or an option is about something that the
            run doesn't read.
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
        options = MediaOptions(
            language, audio_model, transcribe, asr_model, asr_language, notify, face_model, openface=openface
        )
        self._media = MediaReader(self._trained.recipe, self._trained.name, options)

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
        warm_up(self.model, self._media.recipe_for([SPOKEN]))

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
        selected = self._media.select(source, split)
        options = PredictOptions(samples, seed, batch_size, level)
        return predict_clips(self.model, selected, options, openface=self._media.openface, progress=progress)

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
        media = {"video": video, "audio": audio, "frames": frames, "openface": openface}
        return self._media.recording(text=text, transcript=transcript, name=name, **media)

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
        self._media.check_alone([*recording.features, *recording.timeless], f"recording {recording.clip.id!r}")
        recipe, options = self._media.recipe, PredictOptions(samples, seed, batch_size, level)
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
        recipe, predict_options = self._media.stream_recipe(), PredictOptions(samples, seed, level=level)
        return Stream(self.model, recipe, options, predict_options, callback, block=block)

    def ignoring(self, names: Collection[str]) -> Predictor:
        """The same system with these modalities of media left out too; without audio, nothing is transcribed."""
        other = copy(self)
        other._media = self._media.ignoring(names)
        return other

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
        return self._media.clip(video=video, audio=audio, frames=frames, text=text, openface=openface, name=name)
