"""Reading a corpus: the field's pickles, folders of npz, and the library's own store.

All three hold the same *fields* for each split, one row for each sample:

* features, under any name: ``(N, T, D)``, ``(N, D)`` or a list of ``(T_i, D)``, floats. ``text`` is read as language,
  ``video`` as vision. ``<modality>_lengths`` gives the valid frames (for the text, the attention mask of ``text_bert``
  does where there are no lengths; otherwise all frames are valid) and ``<modality>_present`` says where it is there;
* ``regression_labels`` or ``classification_labels``, the latter named by ``label_names`` or ``annotations``;
* ``id``, ``raw_text``, ``dialogue`` and ``position``, ``speaker``; of ``text_bert`` the ids of valid tokens.

Every field but the features may be missing. A value that is not finite becomes 0 and is counted; everything else that
is wrong is an `ImderError` of one line which names the file, the field and the sample.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from imder.data.compatible import check_compatible, check_recipe, fit_splits
from imder.data.corpus import SPLITS, Corpus, Split, spec_of
from imder.data.formats.fields import Raw, find_sequences, read_dialogues, read_features, read_ids
from imder.data.formats.labels import read_labels, require_labels
from imder.data.formats.tokens import read_tokens
from imder.data.formats.unpickle import restricted_load
from imder.data.store import is_store, read_store
from imder.data.token_ids import as_ids, ids_of
from imder.types import ImderError, Spec, Task

__all__ = ["check_compatible", "load_corpus", "require_labels"]

_PICKLES = (".pkl", ".pickle", ".p")


def load_corpus(
    path: str | Path,
    task: Task | None = None,
    drop_empty: bool = False,
    spec: Spec | None = None,
    *,
    token_ids: bool = False,
) -> Corpus:
    """The corpus in a pickle, an npz file, a folder of ``train/valid/test.npz``, or a store.

    A file that isn't split gives one split named ``all`` (an npz file called after a split: that split).

    Args:
        path: the file or folder.
        task: which labels to take; by default regression where there are both.
        drop_empty: leave out samples without any modality, and count them, instead of raising.
        spec: what a trained model knows. The corpus is then fitted to it as by `check_compatible`; it may hold a single
            modality, and labels are those of the model's task or None.
        token_ids: the model makes its language features itself: in their place are token ids (`imder.data.token_ids`).

    Raises:
        ImderError: anything is wrong with the file, or it doesn't fit ``spec``.
    """
    path = Path(path)
    name = path.resolve().name
    if not path.exists():
        raise ImderError(f"{path}: there is no such file or folder")
    if is_store(path):
        corpus = read_store(path)
        if spec is None and task not in (None, corpus.spec.task):
            raise ImderError(f"{path}: the store holds labels for {corpus.spec.task}, not for {task}; convert it again")
        splits: dict[str, Split] = dict(corpus.splits)
        recipe = corpus.recipe
        name, task, classes = corpus.name, corpus.spec.task, corpus.spec.classes
    else:
        recipe = None
        splits, task, classes = _assemble(_read(path), task, spec)
    splits = {key: _without_empty(split, f"{path} [{key}]", drop_empty) for key, split in splits.items()}
    if spec is not None:
        if token_ids:
            splits, spec = ids_of(splits, str(path)), as_ids(spec)
        splits, task, classes = fit_splits(spec, splits, task, classes, str(path)), spec.task, spec.classes
    first = next(iter(splits.values()))
    if len(first.features) < 2:
        raise ImderError(f"{path}: at least two modalities are needed, found only {', '.join(first.features)}")
    if task == "classification" and len(classes) < 2:
        raise ImderError(f"{path}: classification_labels: at least two classes are needed, found {len(classes)}")
    try:
        return Corpus(name, spec_of(splits, task, classes), splits, recipe)
    except ImderError as error:  # a name that no modality can have
        raise ImderError(f"{path}: {error}") from None


def load_for(
    spec: Spec,
    recipe: Mapping[str, Any] | None,
    where: str,
    path: str | Path,
    *,
    drop_empty: bool = False,
    token_ids: bool = False,
) -> Corpus:
    """`load_corpus` for a trained model of ``spec``, whose features were made by ``recipe`` (`check_recipe`).

    Another recipe is told before anything that follows from it, such as other dimensions. ``where`` is the model.
    """
    if is_store(path):
        check_recipe(recipe, read_store(path), where)
    corpus = load_corpus(path, drop_empty=drop_empty, spec=spec, token_ids=token_ids)
    check_recipe(recipe, corpus, where)
    return corpus


def _without_empty(split: Split, where: str, drop: bool) -> Split:
    """The split without the samples that have no modality, or an error at the first of them."""
    held = split.present.any(axis=1)
    if held.all():
        return split
    if not drop:
        sample = split.ids[int(np.argmin(held))]
        raise ImderError(
            f"{where}: {', '.join(split.features)}: sample {sample!r}: it has no modality at all "
            f"({int((~held).sum())} such samples; leave them out with --drop-empty)"
        )
    return replace(split.take(np.flatnonzero(held)), dropped=split.dropped + int((~held).sum()))


def _read(path: Path) -> list[Raw]:
    """The fields of each split of a file or folder."""
    if path.is_dir():
        files = [path / f"{split}.npz" for split in SPLITS]
        raws = [Raw(str(file), file.stem, _read_npz(file)) for file in files if file.exists()]
        if not raws:
            raise ImderError(f"{path}: neither a store (corpus.json) nor a folder of train.npz, valid.npz, test.npz")
        return raws
    if path.suffix == ".npz":
        return [Raw(str(path), path.stem if path.stem in SPLITS else "all", _read_npz(path))]
    if path.suffix in _PICKLES:
        return _read_pickle(path)
    raise ImderError(f"{path}: unknown type of file {path.suffix!r}; known are .npz, {', '.join(_PICKLES)} and folders")


def _read_npz(path: Path) -> dict[str, Any]:
    if not zipfile.is_zipfile(path):
        raise ImderError(f"{path}: not a complete npz file")
    field = "the archive"
    try:
        fields = {}
        with np.load(path, allow_pickle=False) as archive:
            for field in archive.files:
                fields[field] = archive[field]
        return fields
    except Exception as error:  # zip, zlib and numpy have many words for a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImderError(f"{path}: {field}: cannot be read ({reason})") from None


def _read_pickle(path: Path) -> list[Raw]:
    data = restricted_load(path)
    if not isinstance(data, dict):
        raise ImderError(f"{path}: a dict of splits or fields is needed, found {type(data).__name__}")
    data = _named(data)
    inner = {key: value for key, value in data.items() if isinstance(value, dict)}
    if not inner:
        return [Raw(str(path), "all", data)]
    for key in inner:
        if key not in SPLITS:
            raise ImderError(f"{path}: unknown split {key!r}; known are {', '.join(SPLITS)}")
    return [Raw(f"{path} [{split}]", split, _named(inner[split])) for split in SPLITS if split in inner]


def _named(data: Mapping[Any, Any]) -> dict[str, Any]:
    """The same with keys as strings: Python 2 left bytes."""
    return {key.decode(errors="replace") if isinstance(key, bytes) else str(key): x for key, x in data.items()}


def _assemble(raws: list[Raw], task: Task | None, spec: Spec | None) -> tuple[dict[str, Split], Task, tuple[str, ...]]:
    """Splits that agree on modalities and dims, the task and the class names."""
    splits: dict[str, Split] = {}
    first: dict[str, tuple[str, int]] = {}
    for raw in raws:
        found = find_sequences(raw)
        ids = read_ids(raw, len(next(iter(found.values()))[1]))
        features, nonfinite = read_features(raw, found, ids)
        dims = {name: (found[name][0], ragged.dim) for name, ragged in features.items()}
        first = first or dims
        for name, (field, dim) in {**first, **dims}.items():
            if name not in dims or name not in first:
                has, lacks = (raw, raws[0]) if name in dims else (raws[0], raw)
                raise lacks.fault(field, f"no such features here, but in {has.where}")
            if dim != first[name][1]:
                raise raw.fault(field, f"{dim} features here, but {first[name][1]} in {raws[0].where}")
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
        )
    named = [(raw, splits[raw.split].ids) for raw in raws]
    if spec is not None:
        fits = any(raw.fields.get(f"{spec.task}_labels") is not None for raw in raws)
        task = spec.task if fits else None
    task, classes, labels = read_labels(named, task)
    return {key: replace(split, labels=y) for (key, split), y in zip(splits.items(), labels)}, task, classes
