"""`load_corpus`: a corpus from any format of `imder.data.formats.readers`.

Pickles and npz files hold the same *fields* for each split, one row for each sample:

* features, under any name: floats ``(N, T, D)``, ``(N, D)`` or a list of ``(T_i, D)``. ``text`` is read as language,
  ``video`` as vision. ``<modality>_lengths`` gives the numbers of valid frames (without it, the attention mask of
  ``text_bert`` for language, else see `imder.data.formats.padding`), ``<modality>_present`` whether a sample has the modality, and
  ``<modality>_filled`` whether `imder.impute` drew it (`imder.data.split.Split.filled`);
* ``regression_labels`` or ``classification_labels``, the latter named by ``label_names`` or ``annotations`` (N,), or by
  ``class_names`` (C,);
* ``id``, ``raw_text``, ``dialogue`` and ``position``, ``speaker``; of ``text_bert`` the ids of valid tokens.

Every field but the features may be missing. A value that is not finite becomes 0 and is counted; a sample without a finite
value lacks the modality. What was assumed and what was left out is logged, a line each (`Corpus.remarks`); any other mistake is an
`ImderError` of one line that names the file, the field and the sample.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from imder.data.compatible import check_recipe, fit_splits
from imder.data.corpus import Corpus, spec_of
from imder.data.formats.assemble import Contents, ReadOptions
from imder.data.formats.file_fields import FileFields
from imder.data.formats.padding import Padding, check_padding
from imder.data.formats.readers import read_contents
from imder.data.split import Split, without_empty
from imder.data.store import is_store, read_store
from imder.data.token_ids import as_ids, ids_of
from imder.types import ImderError, Spec, Task

log = logging.getLogger(__name__)

NEEDED = "a Corpus or the path of one is needed"


def load_corpus(
    path: str | Path,
    task: Task | None = None,
    drop_empty: bool = False,
    spec: Spec | None = None,
    *,
    token_ids: bool = False,
    padding: Padding = "auto",
    quiet: bool = False,
) -> Corpus:
    """The corpus in a pickle, an npz file, a folder of ``train/valid/test.npz``, or a store.

    A file that isn't split gives one split named ``all`` (an npz file called after a split: that split).

    Args:
        path: the file or folder.
        task: which labels to use; by default regression if there are both. ``none`` reads no labels.
        drop_empty: leave out samples without any modality, and count them, instead of raising.
        spec: the spec of a trained model. The corpus is then fitted to it (`imder.data.compatible.check_compatible`): it may lack
            modalities, and labels of another task become None.
        token_ids: put token ids in place of language features (`imder.data.token_ids`), for a model with a language
            encoder.
        padding: which frames without lengths are padding: ``auto`` for zero frames at the end or the start of modalities that
            share their number of frames with others, ``zeros`` for those of every modality, or ``none``. A store has none.
        quiet: don't log what was assumed and what was left out (`Corpus.remarks`).

    Raises:
        ImderError: anything is wrong with the file, or it doesn't fit ``spec``.
    """
    path = _existing(path)
    check_padding(padding)
    contents = read_contents(path, ReadOptions(None if task == "none" else task, spec, padding))
    if task == "none":
        splits = {key: replace(split, labels=None) for key, split in contents.splits.items()}
        contents = replace(contents, task="none", classes=(), splits=splits)
    return _corpus(path, contents, drop_empty, spec, token_ids, quiet)


def load_as_given(
    spec: Spec, recipe: Mapping[str, Any] | None, where: str, path: str | Path, *, drop_empty: bool = False
) -> tuple[Corpus, Mapping[str, FileFields]]:
    """A corpus for a trained model, not fitted to its spec: modalities, classes and labels are those of the file.

    Args:
        spec: of the model, which decides between the labels of two tasks.
        recipe: that of the model's training corpus (`check_recipe`).
        where: the model's name in messages.
        path: the file or folder.
        drop_empty: leave out samples without any modality instead of raising.

    Returns:
        The corpus, and how its file holds the samples of each split (empty for a store).
    """
    path = _existing(path)
    contents = read_contents(path, ReadOptions(spec=spec))
    corpus = _corpus(path, contents, drop_empty, None, False, False)
    check_recipe(recipe, corpus, where)
    files = {}
    for name, file in contents.files.items():
        row = {key: i for i, key in enumerate(contents.splits[name].ids)}
        files[name] = file.take(np.array([row[key] for key in corpus[name].ids], np.int64), len(row))
    return corpus, files


def _existing(path: str | Path) -> Path:
    if not isinstance(path, str | Path):
        raise ImderError(f"{NEEDED}, got {type(path).__name__}; see imder.Corpus.from_arrays")
    path = Path(path)
    if not path.exists():
        raise ImderError(f"{path}: there is no such file or folder")
    return path


def _corpus(
    path: Path, contents: Contents, drop_empty: bool, spec: Spec | None, token_ids: bool, quiet: bool
) -> Corpus:
    """The contents as a corpus, fitted to ``spec`` if there is one; remarks are logged unless ``quiet``."""
    for remark in () if quiet else contents.remarks:
        log.warning("%s: %s", path, remark)
    task, classes = contents.task, contents.classes
    splits: dict[str, Split] = {
        key: without_empty(split, f"{path} [{key}]", drop_empty) for key, split in contents.splits.items()
    }
    if spec is not None:
        if token_ids:
            splits, spec = ids_of(splits, str(path)), as_ids(spec)
        splits = fit_splits(spec, splits, task, classes, str(path))
        if spec.task != "none":
            task, classes = spec.task, spec.classes
    if task == "classification" and len(classes) < 2:
        raise ImderError(f"{path}: classification_labels: at least two classes are needed, found {len(classes)}")
    try:
        name = contents.name or path.resolve().name
        return Corpus(name, spec_of(splits, task, classes), splits, contents.recipe, contents.remarks)
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

    A different recipe is reported before its consequences, such as other widths. ``where`` names the model in messages.
    """
    if is_store(path):
        check_recipe(recipe, read_store(path), where)
    corpus = load_corpus(path, drop_empty=drop_empty, spec=spec, token_ids=token_ids)
    check_recipe(recipe, corpus, where)
    return corpus
