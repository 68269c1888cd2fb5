"""Splits of one corpus, assembled from the fields of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from imder.data.formats.features import read_features
from imder.data.formats.fields import read_dialogues, read_filled, read_ids
from imder.data.formats.file_fields import FieldShape, FileFields
from imder.data.formats.labels import number_remarks, read_labels
from imder.data.formats.mult_fields import with_label_fields, with_single_ids
from imder.data.formats.padding import Padding
from imder.data.formats.raw import Raw
from imder.data.formats.remarks import Remark, sentences
from imder.data.formats.sequences import find_sequences
from imder.data.formats.token_fields import with_token_fields
from imder.data.formats.tokens import read_tokens
from imder.data.formats.unread import unread_fields
from imder.data.split import Split
from imder.types import Spec, Task


@dataclass(frozen=True)
class ReadOptions:
    """How a corpus is read.

    Attributes:
        task: which labels to use; None for regression if there are both.
        spec: the spec of a trained model, whose task takes precedence.
        padding: which frames without lengths are padding.
    """

    task: Task | None = None
    spec: Spec | None = None
    padding: Padding = "auto"


@dataclass(frozen=True)
class Contents:
    """The contents of a file or folder.

    Attributes:
        splits: the splits by name.
        task: the task of the labels.
        classes: class names; empty for regression.
        name: the corpus' name, if the file has one.
        recipe: the recipe of the features (`imder.data.corpus.Corpus.recipe`), if the file has one.
        files: how a pickle or npz file holds each split; empty for a store.
        remarks: what was assumed and what was left out, a line each.
    """

    splits: Mapping[str, Split]
    task: Task
    classes: tuple[str, ...]
    name: str | None = None
    recipe: Mapping[str, Any] | None = None
    files: Mapping[str, FileFields] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def assemble(raws: Sequence[Raw], options: ReadOptions) -> Contents:
    """Splits of one corpus with their labels.

    Args:
        raws: the fields of each split.
        options: how they are read.

    Raises:
        ImderError: the splits disagree on modalities or widths, or what `unlabelled_splits` and `read_labels` refuse.
    """
    wanted = options.task if options.spec is None or options.spec.task == "none" else options.spec.task
    raws = with_token_fields(with_label_fields([with_single_ids(raw) for raw in raws], wanted))
    splits, remarks = unlabelled_splits(raws, options.padding)
    named = [(raw, splits[raw.split].ids) for raw in raws]
    task, spec = options.task, options.spec
    if spec is not None:
        fits = any(raw.fields.get(f"{spec.task}_labels") is not None for raw in raws)
        task = spec.task if fits else None
    task, classes, labels = read_labels(named, task)
    if spec is None:
        remarks += number_remarks(labels, classes, "call the field regression_labels")
    labelled = {key: replace(split, labels=y) for (key, split), y in zip(splits.items(), labels, strict=True)}
    shapes = _shapes(raws)
    files = {raw.split: FileFields(shapes, raw.fields) for raw in raws}
    return Contents(labelled, task, classes, files=files, remarks=sentences(remarks))


def _shapes(raws: Sequence[Raw]) -> dict[str, FieldShape]:
    shapes: dict[str, FieldShape] = {}
    for raw in raws:
        for name, (key, sequences) in find_sequences(raw).items():
            given = raw.fields[key]
            is_vectors = isinstance(given, np.ndarray) and given.dtype != object and given.ndim == 2
            frames = None if is_vectors else sequences.shape[1] if isinstance(sequences, np.ndarray) else 0
            shapes.setdefault(name, FieldShape(key, frames))
    return shapes


def unlabelled_splits(raws: Sequence[Raw], padding: Padding) -> tuple[dict[str, Split], list[Remark]]:
    """Splits that agree on modalities and widths, without labels, and remarks (`ImderError` where they disagree)."""
    splits: dict[str, Split] = {}
    remarks: list[Remark] = []
    first: dict[str, tuple[str, int]] = {}
    for raw in raws:
        sequences = find_sequences(raw)
        ids = read_ids(raw, len(next(iter(sequences.values()))[1]))
        features, nonfinite, notes = read_features(raw, sequences, ids, padding)
        dims = {name: (sequences[name][0], ragged.dim) for name, ragged in features.items()}
        first = first or dims
        for name, (key, dim) in {**first, **dims}.items():
            if name not in dims or name not in first:
                has, lacks = (raw, raws[0]) if name in dims else (raws[0], raw)
                raise lacks.fault(key, f"no such features here, but in {has.where}")
            if dim != first[name][1]:
                raise raw.fault(key, f"{dim} features here, but {first[name][1]} in {raws[0].where}")
        dialogue, position = read_dialogues(raw, ids)
        language = features.get("language")
        splits[raw.split] = Split(
            ids=ids,
            features={name: features[name] for name in first},
            texts=raw.strings("raw_text", len(ids)),
            dialogue=dialogue,
            position=position,
            speaker=raw.strings("speaker", len(ids)),
            nonfinite={name: nonfinite[name] for name in first},
            tokens=read_tokens(raw, ids, None if language is None else language.lengths > 0),
            unread=unread_fields(raw, {field for field, _ in sequences.values()}),
            filled=read_filled(raw, {name: field for name, (field, _) in sequences.items()}, ids),
        )
        remarks += [*map(Remark, splits[raw.split].unread), *notes]
    return splits, remarks
