"""Predictions of clips: features are extracted, used and dropped, so memory holds a few clips at a time.

A clip's prediction equals that of the same clip in a store made by ``imder extract`` with the system's recipe: the features
are the same, and so is the noise of recoveries, which depends on the clip's id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imder.calibration.describe import check_recoveries
from imder.data.corpus import Corpus, Ragged, Split
from imder.data.speaker_norm import standardise
from imder.extract.assemble import check_positions
from imder.extract.clip import extract_clip
from imder.extract.extractors import leaves_video_unused
from imder.extract.manifest import Clip
from imder.extract.recipe import Recipe
from imder.inference.options import PredictOptions
from imder.inference.predict import Row, predict_split
from imder.inference.selection import Progress
from imder.media.clip_inputs import SelectedClips
from imder.models.base import Model
from imder.rows import Rows
from imder.types import ImderError, Task

Features = Mapping[str, NDArray[np.float32]]

NO_TRACKER = "the video's picture is unused: vision needs a table of OpenFace, or its program"

ALONE = "the only clip of its speaker: standardised by its own frames alone, which removes much of the content"


@dataclass(frozen=True)
class ExtractedClip:
    """A clip and its features.

    Attributes:
        clip: the clip.
        features: ``(T, D)`` for each modality that it has.
        tokens: ``(T,)`` token ids of its text; None without one.
        text: the words; empty if unknown.
    """

    clip: Clip
    features: Features
    tokens: NDArray[np.int64] | None = None
    text: str = ""


@dataclass(frozen=True)
class ClipPredictions:
    """Predictions of some clips, their failures and remarks.

    Attributes:
        rows: one for each predicted clip, in order, with the columns of `imder.predict`.
        failures: (id, modality, reason) of modalities that could not be used; modality ``all`` for the whole clip.
        remarks: (id, modality, remark).
    """

    rows: Rows
    failures: list[tuple[str, str, str]]
    remarks: list[tuple[str, str, str]]

    def only(self) -> Row:
        """The row of a single clip.

        Raises:
            ImderError: the clip or one of its modalities failed.
        """
        for sample, name, reason in self.failures:
            raise ImderError(f"clip {sample!r}: {reason}" if name == "all" else f"{name}: {reason}")
        return dict(self.rows[0])


def predict_clips(
    model: Model,
    selected: SelectedClips,
    options: PredictOptions,
    *,
    openface: str | None = None,
    progress: Progress | None = None,
) -> ClipPredictions:
    """Predict clips; a damaged file fails its modality or clip only.

    Args:
        model: a trained system.
        selected: the clips to predict, and the recipe of its features.
        options: options of the prediction.
        openface: OpenFace's program, for videos without a table.
        progress: called with the numbers of finished clips and of all clips.

    Raises:
        ImderError: as `imder.predict`, or the system reads dialogues and two clips of one have the same position, or only
            some have a position.
    """
    clips, recipe = selected.clips, selected.recipe
    if model.uses_context:
        check_positions(clips, "clips to predict")
    failures: list[tuple[str, str, str]] = []
    remarks: list[tuple[str, str, str]] = []
    all_clips = (*clips, *selected.same_speakers)
    # Neighbouring clips, or all clips of a speaker, are needed at once.
    size = len(all_clips) if model.uses_context or recipe.by_speaker else options.batch_size

    def parts() -> Iterator[Split]:
        kept: list[ExtractedClip] = []
        for done, clip in enumerate(all_clips):
            if progress is not None:
                progress(done, len(all_clips))
            extracted = extract_clip(clip, recipe, openface)
            failures.extend((clip.id, name, reason) for name, reason in extracted.failures.items())
            remarks.extend((clip.id, name, remark) for name, remark in extracted.remarks.items())
            if leaves_video_unused(recipe, clip, openface):
                remarks.append((clip.id, "vision", NO_TRACKER))
            if extracted.features:
                kept.append(ExtractedClip(clip, extracted.features, extracted.tokens, extracted.text or ""))
            elif not extracted.failures:
                reasons = [remark for sample, _, remark in remarks if sample == clip.id]
                failures.append((clip.id, "all", "; ".join(["nothing to predict from", *reasons])))
            if len(kept) == size:
                yield split_of(kept, recipe)
                kept = []
        if kept:
            yield split_of(kept, recipe)

    def standardised_parts() -> Iterator[Split]:
        for split in parts():
            standardised = standardise({"clips": split}, recipe.by_speaker, "media")["clips"]
            remarks.extend(_alone(split, recipe.by_speaker))
            rows_to_predict = np.flatnonzero(np.isin(split.ids, [clip.id for clip in clips]))
            if len(rows_to_predict):
                yield standardised.take(rows_to_predict)

    labels = {clip.id: _label(clip.label, model.spec.task) for clip in clips if clip.label is not None}
    ready = standardised_parts() if recipe.by_speaker else parts()
    rows = Rows(predict_parts(model, ready, options, labels))
    if progress is not None:
        progress(len(all_clips), len(all_clips))
    return ClipPredictions(rows, failures, [*selected.remarks, *remarks])


def _label(text: str | float, task: Task) -> str | float:
    """A manifest's label: a number if the task is regression and the text is one, otherwise the text."""
    try:
        return float(text) if task == "regression" else str(text)
    except ValueError:
        return text


def _alone(split: Split, names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Remarks on clips that are their speaker's only one."""
    speakers = split.speaker or ()
    for name in names:
        present = np.flatnonzero(split.features[name].lengths)
        clips = Counter(speakers[i] for i in present)
        for i in present:
            if clips[speakers[i]] == 1:
                yield split.ids[i], name, ALONE


def predict_parts(
    model: Model,
    parts: Iterable[Split],
    options: PredictOptions,
    labels: Mapping[str, str | float] | None = None,
) -> Iterator[Row]:
    """Predict splits one after the other, with the columns of `imder.predict`; ``labels`` are by clip id."""
    recoveries = 0
    for part in parts:
        prepared = model.prepare(Corpus("media", model.spec, {"clips": part}))["clips"]
        columns: list[Row] = [{"true_label": labels.get(sample)} if labels else {} for sample in part.ids]
        if part.texts is not None:
            columns = [row | {"text": text} for row, text in zip(columns, part.texts, strict=True)]
        rows, recoveries = predict_split(model, prepared, options, corpus_columns=columns)
        yield from rows
    if recoveries and model.calibration is not None:
        check_recoveries(model.calibration, recoveries)


def split_of(clips: Sequence[ExtractedClip], recipe: Recipe) -> Split:
    """Extracted clips as samples without labels."""
    features = {
        name: Ragged.from_list([c.features.get(name, np.zeros((0, dim), np.float32)) for c in clips], dim)
        for name, dim in recipe.dims.items()
    }
    ids = [np.zeros((0, 1), np.int64) if c.tokens is None else c.tokens[:, None] for c in clips]
    has_positions = all(c.clip.position is not None for c in clips if c.clip.dialogue is not None)
    return Split(
        ids=tuple(c.clip.id for c in clips),
        features=features,
        texts=tuple(c.text for c in clips) if "language" in features else None,
        dialogue=tuple(c.clip.dialogue or "" for c in clips),
        position=np.array([c.clip.position or 0 for c in clips], np.int64) if has_positions else None,
        speaker=tuple(c.clip.speaker or "" for c in clips),
        tokens=Ragged.from_list(ids, 1) if "language" in features else None,
    )
