"""Fitting a corpus to a trained model: the same modalities in the same order, the same classes under the same numbers.

A corpus may lack modalities that the model knows; they are missing in every sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from imder.data.corpus import Corpus, Ragged, Split, spec_of
from imder.data.speaker_norm import KEY, standardised
from imder.types import ImderError, Spec, Task


def check_compatible(spec: Spec, corpus: Corpus) -> Corpus:
    """The corpus as a model of ``spec`` reads it.

    The result has the model's modalities in the model's order; modalities that the corpus lacks have no frames. Class
    labels are renumbered by name. Labels of another task become None; a model without a task leaves them as they are.

    Raises:
        ImderError: the corpus has a modality or a class that the model doesn't know, or features of another width.
    """
    splits = fit_splits(spec, corpus.splits, corpus.spec.task, corpus.spec.classes, corpus.name)
    labels_of = corpus.spec if spec.task == "none" else spec
    fitted = spec_of(splits, labels_of.task, labels_of.classes)
    return Corpus(corpus.name, fitted, splits, corpus.recipe, corpus.remarks)


def fit_splits(
    spec: Spec, splits: Mapping[str, Split], task: Task, classes: tuple[str, ...], where: str
) -> dict[str, Split]:
    """`check_compatible` for splits of a corpus that is being read."""
    return {name: _fit(spec, split, task, classes, f"{where} [{name}]") for name, split in splits.items()}


def _fit(spec: Spec, split: Split, task: Task, classes: tuple[str, ...], where: str) -> Split:
    for name in split.features:
        if name not in spec.names:
            raise ImderError(f"{where}: {name}: the model doesn't know this modality; it knows {', '.join(spec.names)}")
    features = {}
    for modality in spec.modalities:
        ragged = split.features.get(modality.name)
        if ragged is None:
            ragged = Ragged(np.zeros((0, modality.dim), np.float32), np.zeros(len(split) + 1, np.int64))
        elif ragged.dim != modality.dim:
            raise ImderError(f"{where}: {modality.name}: {ragged.dim} features; the model expects {modality.dim}")
        features[modality.name] = ragged
    labels = split.labels if spec.task in ("none", task) else None
    if labels is not None and spec.task == "classification" and classes != spec.classes:
        table = np.array([spec.classes.index(c) if c in spec.classes else -1 for c in classes] + [-1], np.int64)
        renumbered = table[labels]
        for i in np.flatnonzero((labels >= 0) & (renumbered < 0)):
            raise ImderError(
                f"{where}: classification_labels: sample {split.ids[i]!r}: the model doesn't know the class "
                f"{classes[labels[i]]!r}; it knows {', '.join(spec.classes)}"
            )
        labels = renumbered
    nonfinite = {name: split.nonfinite.get(name, 0) for name in features}
    foreign = task if labels is None and split.labels is not None else split.foreign_task
    return replace(split, features=features, labels=labels, nonfinite=nonfinite, foreign_task=foreign)


def recipe_difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """The first difference between two recipes of extraction, as a sentence; None if their common modalities agree.

    Names of transformers and versions of libraries are ignored; the fingerprint of weights and vocabulary is compared.
    Where words came from (``transcription``) isn't compared, since features of the same words are the same.

    >>> one = {"format": 1, "audio": {"rate": 22050}, "versions": {"librosa": "0.11"}}
    >>> recipe_difference(one, {"format": 1, "audio": {"rate": 16000}, "versions": {}})
    'audio: rate is 22050 in the first and 16000 in the second'
    >>> recipe_difference(one, {"format": 1, "vision": {"columns": "cues"}, "versions": {}}) is None
    True
    """
    if one.get("format") != other.get("format"):
        return f"the format is {one.get('format')} in the first and {other.get('format')} in the second"
    for name, first in one.items():
        second = other.get(name)
        if name in ("versions", "transcription") or not isinstance(first, Mapping) or not isinstance(second, Mapping):
            continue
        for key in first:
            if (key == "model" and "fingerprint" in first) or first[key] == second.get(key):
                continue
            if key == "fingerprint":
                return f"{name}: the model is {first.get('model')} in the first and {second.get('model')} in the second"
            return f"{name}: {key} is {first[key]} in the first and {second.get(key)} in the second"
    return None


def check_recipe(recipe: Mapping[str, Any] | None, corpus: Corpus, where: str) -> None:
    """Raise an `ImderError` if a corpus' features follow another recipe than those that a model was trained on.

    Extraction is compared if both recipes describe it, standardisation by speaker always.

    Args:
        recipe: that of the model's training corpus; empty if that corpus had none, None if it is unknown.
        corpus: the corpus to use the model on.
        where: the model's name in messages.
    """
    if recipe is None:
        return
    _check_by_speaker(recipe, corpus, where)
    if corpus.recipe is None or not extracted(recipe) or not extracted(corpus.recipe):
        return
    difference = recipe_difference(recipe, corpus.recipe)
    if difference is not None:
        raise ImderError(
            f"{corpus.name}: its features follow another recipe than those {where} was trained on ({difference}; the first is the "
            "model's); extract the clips again with the options of the model's corpus"
        )


def extracted(recipe: Mapping[str, Any]) -> bool:
    """Whether a recipe describes extraction from raw media, not only standardisation."""
    return bool(recipe.keys() - {KEY})


def _check_by_speaker(recipe: Mapping[str, Any], corpus: Corpus, where: str) -> None:
    """Compare standardisation by speaker for the modalities that the corpus has in any sample."""
    names = {name for split in corpus.splits.values() for name, r in split.features.items() if r.lengths.any()}
    of_model, of_corpus = (names & set(standardised(r)) for r in (recipe, corpus.recipe))
    if lacking := sorted(of_model - of_corpus):
        raise ImderError(
            f"{corpus.name}: {lacking[0]} isn't standardised by speaker, unlike what {where} was trained on; make such "
            f"a corpus with: imder data convert CORPUS OUT --by-speaker {','.join(lacking)}"
        )
    if beyond := sorted(of_corpus - of_model):
        raise ImderError(
            f"{corpus.name}: {beyond[0]} is standardised by speaker, unlike what {where} was trained on; use the corpus "
            "that it was converted from"
        )
