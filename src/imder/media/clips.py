"""Clips to predictions: a clip's features are made, used and forgotten, so that any number of clips needs the memory of a few.

A prediction is that of the same clip in a store that ``imder extract`` made with the system's recipe: the features are the
same, and so is the noise of recoveries, which belongs to the clip's id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.calibration.describe import LEVEL, check_recoveries
from imder.data.corpus import Corpus, Ragged, Split
from imder.data.speaker_norm import standardise
from imder.extract.clip import extract_clip
from imder.extract.manifest import Clip
from imder.extract.recipe import Recipe
from imder.inference.predict import predicted_rows
from imder.models.base import Model
from imder.types import ImderError

Row = dict[str, Any]
Features = Mapping[str, NDArray[np.float32]]
ExtractedClip = tuple[Clip, Features, NDArray[np.int64] | None]
"""A clip, its features, and the token ids of its text where it has one."""

Progress = Callable[[int, int], None]

NO_TRACKER = "nothing looked at the picture: vision needs a table of OpenFace, or its program"

ALONE = "the only clip of its speaker: standardised by itself, which takes much of it away"


@dataclass(frozen=True)
class PredictOptions:
    """How to predict: the arguments of `imder.inference.predict.predictions`."""

    samples: int | None = None
    seed: int = 0
    batch_size: int = 64
    level: float = LEVEL


@dataclass(frozen=True)
class ClipPredictions:
    """What became of some clips.

    Attributes:
        rows: of each clip that has something to predict from, in order (`predict_parts`).
        failures: (id, modality, reason) of what should be there and isn't; modality ``all`` where a clip has nothing.
        remarks: (id, modality, remark).
    """

    rows: list[Row]
    failures: list[tuple[str, str, str]]
    remarks: list[tuple[str, str, str]]

    def only(self) -> Row:
        """The row of a single clip.

        Raises:
            ImderError: something of it failed.
        """
        for sample, name, reason in self.failures:
            raise ImderError(f"clip {sample!r}: {reason}" if name == "all" else f"{name}: {reason}")
        return self.rows[0]


def predict_clips(
    model: Model,
    recipe: Recipe,
    clips: Sequence[Clip],
    options: PredictOptions,
    *,
    openface: str | None = None,
    beside: Sequence[Clip] = (),
    progress: Progress | None = None,
) -> ClipPredictions:
    """Predict clips; what is wrong with one of them is a failure of that one.

    Args:
        model: a trained system.
        recipe: what its features were made with.
        clips: where everything is.
        options: how to predict.
        openface: OpenFace's program, for videos without a table.
        beside: clips that aren't predicted: others of the same speakers, for what is standardised by speaker.
        progress: called with clips done, and clips in all.

    Raises:
        ImderError: what `imder.inference.predict.predictions` raises, or two clips of a dialogue have the same position.
    """
    failures: list[tuple[str, str, str]] = []
    remarks: list[tuple[str, str, str]] = []
    everything = (*clips, *beside)
    # Whoever looks at a clip's neighbours, or at all of a speaker, needs them all at once.
    size = len(everything) if model.uses_context or recipe.by_speaker else options.batch_size

    def parts() -> Iterator[Split]:
        kept: list[ExtractedClip] = []
        for done, clip in enumerate(everything):
            if progress is not None:
                progress(done, len(everything))
            made = extract_clip(clip, recipe, openface)
            failures.extend((clip.id, name, reason) for name, reason in made.failures.items())
            remarks.extend((clip.id, name, remark) for name, remark in made.remarks.items())
            if recipe.vision is not None and clip.video is not None and clip.openface is None and openface is None:
                remarks.append((clip.id, "vision", NO_TRACKER))
            if made.features:
                kept.append((clip, made.features, made.tokens))
            elif not made.failures:
                reasons = [remark for sample, _, remark in remarks if sample == clip.id]
                failures.append((clip.id, "all", "; ".join(["nothing to predict from", *reasons])))
            if len(kept) == size:
                yield split_of(kept, recipe)
                kept = []
        if kept:
            yield split_of(kept, recipe)

    def whole() -> Iterator[Split]:
        for split in parts():
            moved = standardise({"clips": split}, recipe.by_speaker, "media")["clips"]
            remarks.extend(_alone(split, recipe.by_speaker))
            mine = np.flatnonzero(np.isin(split.ids, [clip.id for clip in clips]))
            if len(mine):
                yield moved.take(mine)

    rows = list(predict_parts(model, whole() if recipe.by_speaker else parts(), options))
    if progress is not None:
        progress(len(everything), len(everything))
    return ClipPredictions(rows, failures, remarks)


def _alone(split: Split, names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Remarks on clips of whose speaker there is nothing else to compare with."""
    speakers = split.speaker or ()
    for name in names:
        held = np.flatnonzero(split.features[name].lengths)
        clips = Counter(speakers[i] for i in held)
        for i in held:
            if clips[speakers[i]] == 1:
                yield split.ids[i], name, ALONE


def predict_parts(model: Model, parts: Iterable[Split], options: PredictOptions) -> Iterator[Row]:
    """Predictions of splits, one after the other, as `imder.inference.predict.predictions` describes them.

    After ``available`` each has what was missing: ``recovered`` where the system recovers encodings, ``missing`` where it
    does without (names joined by ``+``).
    """
    word = "recovered" if hasattr(model, "recover") else "missing"
    recoveries = 0
    spec = model.spec
    for part in parts:
        fitting = model.prepare(Corpus("media", spec, {"clips": part}))["clips"]
        rows, recoveries = predicted_rows(
            model, fitting, options.samples, options.seed, options.batch_size, options.level
        )
        for row in rows:
            there = row["available"].split("+")
            lacking = "+".join(name for name in spec.names if name not in there)
            yield {"id": row["id"], "available": row["available"], word: lacking} | row
    if recoveries and model.calibration is not None:
        check_recoveries(model.calibration, recoveries)


def split_of(made: Sequence[ExtractedClip], recipe: Recipe) -> Split:
    """Clips and their features as samples without labels."""
    clips = [clip for clip, _, _ in made]
    features = {
        name: Ragged.from_list([found.get(name, np.zeros((0, dim), np.float32)) for _, found, _ in made], dim)
        for name, dim in recipe.dims.items()
    }
    ids = [np.zeros((0, 1), np.int64) if tokens is None else tokens[:, None] for _, _, tokens in made]
    known = all(clip.position is not None for clip in clips if clip.dialogue is not None)
    return Split(
        ids=tuple(clip.id for clip in clips),
        features=features,
        dialogue=tuple(clip.dialogue or "" for clip in clips),
        position=np.array([clip.position or 0 for clip in clips], np.int64) if known else None,
        speaker=tuple(clip.speaker or "" for clip in clips),
        tokens=Ragged.from_list(ids, 1) if "language" in features else None,
    )
