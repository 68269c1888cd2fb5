"""A numerical summary of a corpus, to read before training.

Each entry answers a question that has spoilt published results: Are the splits disjoint in ids, dialogues and speakers?
Which modalities are present? Which columns are constant? How many values were not finite?
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Corpus, Ragged, Split
from imder.data.dialogues import dialogue_numbers
from imder.data.speaker_norm import standardised
from imder.data.token_ids import unused_tokens
from imder.types import ImderError

_CHUNK = 1 << 22  # values compared at a time
_EXAMPLES = 5
DIALOGUE_LENGTHS = {"1": 1, "2 to 4": 2, "5 to 9": 5, "10 to 19": 10, "20 to 49": 20, "50 or more": 50}
"""Ranges of the number of clips in a dialogue, each with its least."""


def inspect_corpus(corpus: Corpus) -> dict[str, Any]:
    """Summarise a corpus in plain containers, ready for JSON.

    Returns:
        ``name``, ``task``, ``classes``;
        ``modalities``: the ``dim``, longest ``length`` and ``dtype`` of each;
        ``splits``: for each the size ``n``, the numbers of ``labelled`` and ``dropped`` samples, the ``labels``: their
        histogram (``counts``) and, for regression, ``min``, ``median``, ``mean`` and ``max``; ``present`` and
        ``nonfinite`` by modality, ``lengths`` (min, median and max over the samples that have the modality, and frames
        in total), ``patterns`` (samples by their present modalities, as ``language+audio``), the number of
        ``dialogues`` and ``speakers`` (None if unknown), whether there are ``texts``, and ``neighbours``: how many
        ``clips`` share a dialogue with another, and by `DIALOGUE_LENGTHS` how many ``dialogues`` have so many clips (a clip
        without a dialogue is one of its own), or None where the order of clips is unknown;
        ``unordered``: for splits with dialogues, why the order of their clips is unknown;
        ``remarks``: what was assumed and what was left out when the file was read;
        ``constant``: the examined split (train, or else the first) and, by modality, the number (``n``) and indices
        (``columns``) of columns that have one value in all valid frames;
        ``shared``: for ids, dialogues and speakers, by pairs of splits, how many (``n``) both have, with ``examples``;
        ``by_speaker``: the modalities that are standardised by speaker.
    """
    chosen = "train" if "train" in corpus.splits else next(iter(corpus.splits))
    return {
        "name": corpus.name,
        "task": corpus.spec.task,
        "classes": list(corpus.spec.classes),
        "modalities": {
            m.name: {
                "dim": m.dim,
                "length": m.length,
                "dtype": str(corpus.splits[chosen].features[m.name].values.dtype),
            }
            for m in corpus.spec.modalities
        },
        "splits": {name: _split(split, corpus.spec.classes) for name, split in corpus.splits.items()},
        "unordered": [remark for name, split in corpus.splits.items() if (remark := _unordered(name, split))],
        "remarks": [*corpus.remarks, *unused_tokens(corpus)],
        "constant": {
            "split": chosen,
            "modalities": {
                name: {"n": len(columns), "columns": columns}
                for name, ragged in corpus.splits[chosen].features.items()
                for columns in [constant_columns(ragged)]
            },
        },
        "shared": {
            "ids": _shared({name: s.ids for name, s in corpus.splits.items()}),
            "dialogues": _shared({name: s.dialogue or () for name, s in corpus.splits.items()}),
            "speakers": _shared({name: s.speaker or () for name, s in corpus.splits.items()}),
        },
        "by_speaker": list(standardised(corpus.recipe)),
    }


def _split(split: Split, classes: tuple[str, ...]) -> dict[str, Any]:
    names = list(split.features)
    patterns = Counter("+".join(n for n, present in zip(names, row) if present) for row in split.present)
    return {
        "n": len(split),
        "dropped": split.dropped,
        **_labels(split.labels, classes),
        "present": {name: int(n) for name, n in zip(names, split.present.sum(axis=0))},
        "patterns": dict(patterns.most_common()),
        "lengths": {name: _lengths(ragged) for name, ragged in split.features.items()},
        "nonfinite": {name: int(split.nonfinite.get(name, 0)) for name in names},
        "texts": split.texts is not None,
        "dialogues": None if split.dialogue is None else len(set(split.dialogue)),
        "speakers": None if split.speaker is None else len(set(split.speaker)),
        "neighbours": _neighbours(split),
    }


def _neighbours(split: Split) -> dict[str, Any] | None:
    """Clips that have neighbours and dialogues by length; None where the order of clips is unknown."""
    if split.dialogue is None or split.position is None:
        return None
    try:
        clips = np.unique(dialogue_numbers(split), return_counts=True)[1]
    except ImderError:
        return None
    ranges = np.digitize(clips, list(DIALOGUE_LENGTHS.values())) - 1
    counts = np.bincount(ranges, minlength=len(DIALOGUE_LENGTHS)).tolist()
    return {"clips": int(clips[clips > 1].sum()), "dialogues": dict(zip(DIALOGUE_LENGTHS, counts))}


def _unordered(name: str, split: Split) -> str:
    """Why the order of a split's dialogues is unknown; empty where it is known or there are no dialogues."""
    if split.dialogue is None:
        return ""
    if split.position is None:
        return f"{name}: dialogues without positions (field 'position'): no clip has neighbours"
    try:
        dialogue_numbers(split)
    except ImderError as error:
        return f"{name}: {error}"
    return ""


def _lengths(ragged: Ragged) -> dict[str, Any]:
    lengths = ragged.lengths[ragged.lengths > 0]
    if not len(lengths):
        return {"min": 0, "median": 0.0, "max": 0, "frames": 0}
    return {
        "min": int(lengths.min()),
        "median": float(np.median(lengths)),
        "max": int(lengths.max()),
        "frames": int(lengths.sum()),
    }


def _labels(labels: NDArray[Any] | None, classes: tuple[str, ...]) -> dict[str, Any]:
    if labels is None:
        return {"labelled": 0, "labels": None}
    if labels.dtype.kind != "f":
        counts = np.bincount(labels[labels >= 0], minlength=len(classes))
        return {"labelled": int(counts.sum()), "labels": {"counts": dict(zip(classes, counts.tolist()))}}
    values = labels[np.isfinite(labels)].astype(np.float64)
    if not len(values):
        return {"labelled": 0, "labels": None}
    low, high = float(values.min()), float(values.max())
    statistics = {"min": low, "median": float(np.median(values)), "mean": float(values.mean()), "max": high}
    return {"labelled": len(values), "labels": {"counts": _histogram(values), **statistics}}


def _histogram(values: NDArray[np.float64]) -> dict[str, int]:
    """Counts by nearest whole number if that gives 3 to 21 bins, otherwise by ten equal ranges."""
    whole = np.rint(values)
    low, high = int(whole.min()), int(whole.max())
    if 2 <= high - low <= 20:
        return {str(k): int((whole == k).sum()) for k in range(low, high + 1)}
    counts, edges = np.histogram(values, bins=10)
    return {f"{a:.3g} to {b:.3g}": int(n) for a, b, n in zip(edges, edges[1:], counts)}


def constant_columns(ragged: Ragged) -> list[int]:
    """Indices of columns with one value in all frames; empty for fewer than two frames."""
    start, stop = int(ragged.offsets[0]), int(ragged.offsets[-1])
    if stop - start < 2:
        return []
    first = np.asarray(ragged.values[start])
    same = np.ones(ragged.dim, bool)
    step = max(1, _CHUNK // max(1, ragged.dim))
    for begin in range(start, stop, step):
        same &= (ragged.values[begin : min(begin + step, stop)] == first).all(axis=0)
    return [int(i) for i in np.flatnonzero(same)]


def _shared(names: dict[str, tuple[str, ...]]) -> dict[str, dict[str, Any]]:
    """The names that pairs of splits have in common, for pairs that have any."""
    overlaps = {}
    for a, b in combinations(names, 2):
        both = sorted(set(names[a]) & set(names[b]))
        if both:
            overlaps[f"{a} and {b}"] = {"n": len(both), "examples": both[:_EXAMPLES]}
    return overlaps
