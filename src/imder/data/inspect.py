"""What there is to know about a corpus before training on it, as plain numbers.

Each entry answers a question that has spoilt results in this field: are the splits disjoint in ids, dialogues and
speakers? which modalities are truly there? which columns never change? how many values were not finite?
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Corpus, Ragged, Split
from imder.data.speaker_norm import standardised

_CHUNK = 1 << 22  # values looked at at a time
_EXAMPLES = 5


def inspect_corpus(corpus: Corpus) -> dict[str, Any]:
    """A summary of a corpus in plain containers, ready for JSON.

    Returns:
        ``name``, ``task``, ``classes``;
        ``modalities``: for each its ``dim``, longest ``length`` and ``dtype``;
        ``splits``: for each its size ``n``, how many are ``labelled`` and were ``dropped``, the ``labels``' histogram
        (``counts``) and, for regression, ``min``, ``median``, ``mean`` and ``max``; ``present`` and ``nonfinite`` by
        modality, ``lengths`` (min, median, max over the samples that have the modality, and frames in all),
        ``patterns`` (samples by what they hold, as ``language+audio``), the number of ``dialogues`` and ``speakers``
        (None where unknown) and whether there are ``texts``;
        ``constant``: the split that was looked at (train, or else the first) and, by modality, how many columns (``n``)
        have the same value in all valid frames, and which (``columns``);
        ``shared``: for ids, dialogues and speakers, by pairs of splits, how many (``n``) both have, with ``examples``;
        ``by_speaker``: which modalities are standardised by speaker.
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
    patterns = Counter("+".join(n for n, here in zip(names, row) if here) for row in split.present)
    return {
        "n": len(split),
        "dropped": split.dropped,
        **_labels(split.labels, classes),
        "present": {name: int(here) for name, here in zip(names, split.present.sum(axis=0))},
        "patterns": dict(patterns.most_common()),
        "lengths": {name: _lengths(ragged) for name, ragged in split.features.items()},
        "nonfinite": {name: int(split.nonfinite.get(name, 0)) for name in names},
        "texts": split.texts is not None,
        "dialogues": None if split.dialogue is None else len(set(split.dialogue)),
        "speakers": None if split.speaker is None else len(set(split.speaker)),
    }


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
    known = labels[np.isfinite(labels)].astype(np.float64)
    if not len(known):
        return {"labelled": 0, "labels": None}
    low, high = float(known.min()), float(known.max())
    about = {"min": low, "median": float(np.median(known)), "mean": float(known.mean()), "max": high}
    return {"labelled": len(known), "labels": {"counts": _histogram(known), **about}}


def _histogram(values: NDArray[np.float64]) -> dict[str, int]:
    """Counts by the nearest whole number; by ten equal ranges where that would be too few or too many."""
    whole = np.rint(values)
    low, high = int(whole.min()), int(whole.max())
    if 2 <= high - low <= 20:
        return {str(k): int((whole == k).sum()) for k in range(low, high + 1)}
    counts, edges = np.histogram(values, bins=10)
    return {f"{a:.3g} to {b:.3g}": int(n) for a, b, n in zip(edges, edges[1:], counts)}


def constant_columns(ragged: Ragged) -> list[int]:
    """Columns with the same value in all frames; none where there are fewer than two frames."""
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
    """What pairs of splits have in common, where they have anything."""
    found = {}
    for a, b in combinations(names, 2):
        both = sorted(set(names[a]) & set(names[b]))
        if both:
            found[f"{a} and {b}"] = {"n": len(both), "examples": both[:_EXAMPLES]}
    return found
