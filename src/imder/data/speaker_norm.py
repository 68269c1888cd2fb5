"""Standardisation by speaker: a voice's own mean and spread are taken out of its features.

Voices differ more from one another than one voice does between emotions. What is left once each speaker's mean and
deviation are gone is how a clip differs from the speaker's others, so that an unseen speaker looks like the seen ones: an
established device of speech emotion recognition ("speaker normalisation" in Schuller et al., Cross-corpus acoustic emotion
recognition: variances and strategies, IEEE Transactions on Affective Computing 1(2), 2010).

What it means must be known to whoever reads a number:

* Labels are never looked at, but a prediction hangs on the features of *other* clips of the same speaker, those of the test
  split too: it is transductive. Tables say so (`speaker_norm_note`).
* A speaker with few clips, or with clips of few emotions, has the emotion partly taken out with the voice: somebody who is
  always angry looks neutral. Of a speaker with one clip, only how its frames move is left.

A corpus remembers what was standardised under the key `KEY` of its recipe, whether its features were extracted here or not,
and `imder.data.compatible.check_recipe` keeps such features apart from others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Corpus, Ragged, Split
from imder.data.store import space_for
from imder.types import ImderError

KEY = "by_speaker"
"""In a corpus' recipe: the names of modalities that were standardised so."""

CONSTANT = 8 * float(np.finfo(np.float32).eps)
"""A deviation up to this share of the root mean square is rounding of float32, no variation."""


def by_speaker(corpus: Corpus, names: Sequence[str], work: Path | None = None) -> Corpus:
    """The corpus with features standardised by speaker, float32: (x - mean) / deviation.

    Mean and (population) deviation of a feature are those over all frames of all clips of the speaker, in all splits that
    hold the speaker. A feature that doesn't vary for a speaker (`CONSTANT`) becomes 0. Values lie within the square root of
    the speaker's number of frames, so that they fit into half floats too.

    Args:
        corpus: may be memory-mapped; it is read three times, clip by clip.
        names: of modalities; the others stay as they are.
        work: a folder for files that hold the new features; by default they are in memory.

    Raises:
        ImderError: there is no such modality, it was standardised by speaker before, a split knows no speakers, or a clip
            that has the modality has no speaker.
    """
    done = standardised(corpus.recipe)
    for name in names:
        if name not in corpus.spec.names:
            raise ImderError(
                f"{corpus.name}: by speaker: unknown modality {name!r}; it has {', '.join(corpus.spec.names)}"
            )
        if name in done:
            raise ImderError(f"{corpus.name}: {name}: was standardised by speaker already")
    splits = standardise(corpus.splits, names, corpus.name, work)
    known = [name for name in corpus.spec.names if name in {*names, *done}]
    return replace(corpus, splits=splits, recipe={**(corpus.recipe or {}), KEY: known})


def standardised(recipe: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The modalities that a recipe calls standardised by speaker.

    Raises:
        ImderError: what it says isn't a list of names.

    >>> standardised({"format": 1, "by_speaker": ["audio"]}), standardised({"format": 1}), standardised(None)
    (('audio',), (), ())
    """
    names = (recipe or {}).get(KEY, ())
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ImderError(f"recipe: {KEY}: a list of modalities is needed, found {names!r}")
    return tuple(names)


def speaker_norm_note(recipe: Mapping[str, Any] | None) -> str:
    """What readers of a table must know; empty where nothing was standardised by speaker.

    >>> speaker_norm_note({"by_speaker": ["audio"]})
    'audio: features standardised by speaker, over all clips of each, test clips too'
    """
    names = standardised(recipe)
    if not names:
        return ""
    return f"{', '.join(names)}: features standardised by speaker, over all clips of each, test clips too"


def standardise(
    splits: Mapping[str, Split], names: Sequence[str], where: str, work: Path | None = None
) -> dict[str, Split]:
    """`by_speaker` for splits that need not make a corpus.

    Raises:
        ImderError: a split knows no speakers, or a clip that has one of the modalities has no speaker.
    """
    for key, split in splits.items():
        _check_speakers(split, names, f"{where} [{key}]")
    made, numbers = dict(splits), count()
    for name in dict.fromkeys(names):
        voices = _voices(splits, name)
        for key, split in splits.items():
            path = None if work is None else work / f"{next(numbers)}.f32"
            ragged = _apply(split, name, voices, path)
            made[key] = replace(made[key], features={**made[key].features, name: ragged})
    return made


@dataclass
class _Voice:
    """Of one speaker: how many frames, and for each feature their mean and the sum of squared distances from it, ``(D,)``."""

    frames: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    @property
    def deviation(self) -> NDArray[np.float64]:
        """``(D,)``, 0 where it is nothing but rounding."""
        deviation = np.sqrt(self.squares / self.frames)
        return np.where(deviation > CONSTANT * np.hypot(self.mean, deviation), deviation, 0.0)


def _check_speakers(split: Split, names: Sequence[str], where: str) -> None:
    if split.speaker is None:
        raise ImderError(f"{where}: speaker: no speakers are known, so nothing can be standardised by speaker")
    for name in names:
        held = split.features[name].lengths > 0
        for i in np.flatnonzero(held):
            if not split.speaker[i]:
                raise ImderError(f"{where}: speaker: clip {split.ids[i]!r} has {name} but no speaker")


def _voices(splits: Mapping[str, Split], name: str) -> dict[str, _Voice]:
    """Mean and spread of each speaker. The spread is that around the mean, in a pass of its own: nothing cancels."""
    voices: dict[str, _Voice] = {}
    for speaker, frames in _clips(splits, name):
        voice = voices.setdefault(speaker, _Voice(0, np.zeros(frames.shape[1]), np.zeros(frames.shape[1])))
        voice.frames += len(frames)
        voice.mean += frames.sum(axis=0)  # the sum, until all are there
    for voice in voices.values():
        voice.mean /= voice.frames
    for speaker, frames in _clips(splits, name):
        voices[speaker].squares += np.square(frames - voices[speaker].mean).sum(axis=0)
    return voices


def _clips(splits: Mapping[str, Split], name: str) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """The speaker and the frames of each clip that has the modality, one after the other."""
    for split in splits.values():
        ragged = split.features[name]
        for i in np.flatnonzero(ragged.lengths):
            yield (split.speaker or ())[i], ragged[int(i)].astype(np.float64)


def _apply(split: Split, name: str, voices: Mapping[str, _Voice], path: Path | None) -> Ragged:
    ragged = split.features[name]
    offsets = ragged.offsets - ragged.offsets[0]
    values = space_for((int(offsets[-1]), ragged.dim), path)
    held = np.flatnonzero(ragged.lengths)
    deviations = {speaker: voice.deviation for speaker, voice in voices.items()}
    for i, (speaker, frames) in zip(held, _clips({"": split}, name), strict=True):
        moved = frames - voices[speaker].mean
        deviation = np.broadcast_to(deviations[speaker], moved.shape)
        values[offsets[i] : offsets[i + 1]] = np.divide(moved, deviation, out=np.zeros_like(moved), where=deviation > 0)
    return Ragged(values, offsets)
