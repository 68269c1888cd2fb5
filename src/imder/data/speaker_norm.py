"""Standardisation by speaker: each speaker's features are brought to mean 0 and deviation 1.

Features vary more between speakers than between the emotions of one speaker. Standardised features show how a clip differs
from the speaker's other clips, which helps with unseen speakers ("speaker normalisation" in Schuller et al., Cross-corpus
acoustic emotion recognition: variances and strategies, IEEE Transactions on Affective Computing 1(2), 2010).

Two limits apply to every result on such features:

* Labels aren't used, but a prediction depends on the features of *other* clips of the same speaker, including those of the
  test split: the method is transductive. Tables carry a note (`speaker_norm_note`).
* If a speaker has few clips, or clips of few emotions, part of the emotion is removed as well: somebody who is always angry
  looks neutral. With a single clip, only the variation over its frames remains.

The standardised modalities are listed under `KEY` in the corpus' recipe, whether ``imder extract`` made the features or not,
and `imder.data.compatible.check_recipe` refuses to mix them with others.
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
"""Key of the standardised modalities in a corpus' recipe."""

CONSTANT = 8 * float(np.finfo(np.float32).eps)
"""Deviations up to this share of the root mean square are rounding errors of float32 and count as 0."""


def by_speaker(corpus: Corpus, names: Sequence[str], work: Path | None = None) -> Corpus:
    """Standardise features by speaker, as float32: (x - mean) / deviation.

    Mean and (population) deviation of a feature are taken over all frames of all clips of the speaker, across splits. A
    feature that is constant for a speaker (`CONSTANT`) becomes 0. No value exceeds the square root of the speaker's number
    of frames, so values also fit into half floats.

    Args:
        corpus: may be memory-mapped; it is read three times, clip by clip.
        names: the modalities to standardise; others stay as they are.
        work: a folder for files that hold the new features; by default they are in memory.

    Raises:
        ImderError: a modality is unknown or already standardised by speaker, a split has no speakers, or a clip that has
            the modality has no speaker.
    """
    done = standardised(corpus.recipe)
    for name in names:
        if name not in corpus.spec.names:
            raise ImderError(
                f"{corpus.name}: by speaker: unknown modality {name!r}; it has {', '.join(corpus.spec.names)}"
            )
        if name in done:
            raise ImderError(f"{corpus.name}: {name}: is already standardised by speaker")
    splits = standardise(corpus.splits, names, corpus.name, work)
    modalities = [name for name in corpus.spec.names if name in {*names, *done}]
    return replace(corpus, splits=splits, recipe={**(corpus.recipe or {}), KEY: modalities})


def standardised(recipe: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The modalities that are standardised by speaker according to a recipe.

    Raises:
        ImderError: the recipe's entry isn't a list of names.

    >>> standardised({"format": 1, "by_speaker": ["audio"]}), standardised({"format": 1}), standardised(None)
    (('audio',), (), ())
    """
    names = (recipe or {}).get(KEY, ())
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ImderError(f"recipe: {KEY}: a list of modalities is needed, found {names!r}")
    return tuple(names)


def speaker_norm_note(recipe: Mapping[str, Any] | None) -> str:
    """The note for tables of results; empty if nothing is standardised by speaker.

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
    results, numbers = dict(splits), count()
    for name in dict.fromkeys(names):
        voices = _voices(splits, name)
        for key, split in splits.items():
            path = None if work is None else work / f"{next(numbers)}.f32"
            ragged = _apply(split, name, voices, path)
            results[key] = replace(results[key], features={**results[key].features, name: ragged})
    return results


@dataclass
class _Voice:
    """One speaker's number of frames, and for each feature the mean and the sum of squared distances from it, ``(D,)``."""

    frames: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    @property
    def deviation(self) -> NDArray[np.float64]:
        """``(D,)``, 0 where it is only a rounding error (`CONSTANT`)."""
        deviation = np.sqrt(self.squares / self.frames)
        return np.where(deviation > CONSTANT * np.hypot(self.mean, deviation), deviation, 0.0)


def _check_speakers(split: Split, names: Sequence[str], where: str) -> None:
    if split.speaker is None:
        raise ImderError(f"{where}: speaker: the split has no speakers, so it can't be standardised by speaker")
    for name in names:
        for i in np.flatnonzero(split.features[name].lengths > 0):
            if not split.speaker[i]:
                raise ImderError(f"{where}: speaker: clip {split.ids[i]!r} has {name} but no speaker")


def _voices(splits: Mapping[str, Split], name: str) -> dict[str, _Voice]:
    """Mean and spread of each speaker. The spread takes a second pass, around the final mean, to avoid cancellation."""
    voices: dict[str, _Voice] = {}
    for speaker, frames in _clips(splits, name):
        voice = voices.setdefault(speaker, _Voice(0, np.zeros(frames.shape[1]), np.zeros(frames.shape[1])))
        voice.frames += len(frames)
        voice.mean += frames.sum(axis=0)  # the sum, divided below
    for voice in voices.values():
        voice.mean /= voice.frames
    for speaker, frames in _clips(splits, name):
        voices[speaker].squares += np.square(frames - voices[speaker].mean).sum(axis=0)
    return voices


def _clips(splits: Mapping[str, Split], name: str) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Speaker and frames of each clip that has the modality."""
    for split in splits.values():
        ragged = split.features[name]
        for i in np.flatnonzero(ragged.lengths):
            yield (split.speaker or ())[i], ragged[int(i)].astype(np.float64)


def _apply(split: Split, name: str, voices: Mapping[str, _Voice], path: Path | None) -> Ragged:
    ragged = split.features[name]
    offsets = ragged.offsets - ragged.offsets[0]
    values = space_for((int(offsets[-1]), ragged.dim), path)
    rows = np.flatnonzero(ragged.lengths)
    deviations = {speaker: voice.deviation for speaker, voice in voices.items()}
    for i, (speaker, frames) in zip(rows, _clips({"": split}, name), strict=True):
        centred = frames - voices[speaker].mean
        deviation = np.broadcast_to(deviations[speaker], centred.shape)
        values[offsets[i] : offsets[i + 1]] = np.divide(
            centred, deviation, out=np.zeros_like(centred), where=deviation > 0
        )
    return Ragged(values, offsets)
