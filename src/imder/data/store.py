"""The library's own store of a corpus: a folder, ragged, memory-mapped when read.

::

    corpus.json            {"format": "imder-corpus", "version": 1, "name", "dtype", "spec",
                            "splits": {<split>: {"n", "dropped", "nonfinite": {<modality>: count}}},
                            "recipe": how features were made from raw media, and which were standardised by
                                      speaker ("by_speaker": names); may be missing}
    failures.csv, remarks.csv   problems and remarks of `imder extract`; may be missing
    words.csv                   words of transcripts that it made, with their times and origin; may be missing
    <split>.json           {"ids": [...], "texts", "dialogue", "speaker": a list of n strings, or null}
    <split>.safetensors    values.<modality>   (frames, D) float16 or float32: all frames, without padding
                           offsets.<modality>  (n + 1,) int64: sample i holds the frames offsets[i] to offsets[i + 1]
                           labels              (n,) float32 (regression) or int64 (classification); may be missing
                           position            (n,) int64; may be missing
                           filled.<modality>   (n,) bool: samples that `imder.impute` filled; may be missing
                           values.text_bert    (tokens, 1) int64 and offsets.text_bert: token ids; may be missing

A store is written to a temporary folder beside it and then renamed, so it exists whole or not at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Corpus, Ragged, Split
from imder.data.safetensors_file import read_tensors
from imder.data.store_writer import (
    FORMAT,
    SPLIT_NAME,
    VERSION,
    check_replaceable,
    read_json,
    space_for,
    write_store,
)
from imder.jobs.documents import Entry
from imder.types import ImderError, Spec

__all__ = ["is_store", "read_store", "space_for", "write_store"]


def is_store(path: str | Path) -> bool:
    """Whether a path is a folder with the description of a store."""
    return (Path(path) / "corpus.json").is_file()


def check_new_store(folder: str | Path, force: bool = False) -> None:
    """Raise `ImderError` unless `write_store` may write the folder; a store there may be replaced if ``force`` is True."""
    if is_store(folder) and not force:
        raise ImderError(
            f"{folder}: holds a store already; replace it with force=True (--force), or choose another out"
        )
    check_replaceable(folder)


def read_store(folder: str | Path) -> Corpus:
    """The corpus in a store. Features are views of memory maps, read when used.

    Raises:
        ImderError: the folder is no store, or a file is missing, truncated or contradicts the others.
    """
    folder = Path(folder)
    about = read_json(folder / "corpus.json")
    if about.get("format") != FORMAT:
        raise ImderError(f"{folder / 'corpus.json'}: not the description of a store")
    if about.get("version") != VERSION:
        raise ImderError(f"{folder / 'corpus.json'}: version {about.get('version')!r}; this library reads {VERSION}")
    try:
        entry = Entry(about, str(folder / "corpus.json"))
        name, spec, entries = entry["name"].text(), Spec.from_dict(entry["spec"].value), entry["splits"].mapping()
        if not entries or not all(SPLIT_NAME.fullmatch(key) for key in entries):
            raise entry["splits"].fault("expected at least one split, named by letters, digits, _ and -")
        described = {
            key: (e["n"].whole(), e["dropped"].whole(), {k: v.whole() for k, v in e["nonfinite"].mapping().items()})
            for key, e in entries.items()
        }
    except ImderError as error:
        raise ImderError(f"{entry.file}: damaged ({str(error).removeprefix(f'{entry.file}: ')})") from None
    recipe = about.get("recipe")
    if recipe is not None and not isinstance(recipe, dict):
        raise ImderError(f"{folder / 'corpus.json'}: recipe: damaged")
    return Corpus(name, spec, {key: _read_split(folder, key, spec, *e) for key, e in described.items()}, recipe)


def _read_split(folder: Path, name: str, spec: Spec, n: int, dropped: int, nonfinite: dict[str, int]) -> Split:
    path, beside = folder / f"{name}.safetensors", folder / f"{name}.json"
    tensors, lists = read_tensors(path), read_json(beside)
    ids = _strings(beside, lists, "ids", n)
    if ids is None or len(set(ids)) != n:
        raise ImderError(f"{beside}: ids: {n} different ids are needed")
    features = {m.name: _ragged(path, tensors, m.name, "f", m.dim, n) for m in spec.modalities}
    kind = "f" if spec.task == "regression" else "i"
    labels = _tensor(path, tensors, "labels", kind, (n,)) if "labels" in tensors else None
    if labels is not None and kind == "i":
        for i in np.flatnonzero((labels < -1) | (labels >= len(spec.classes))):
            raise ImderError(f"{path}: labels: sample {ids[i]!r}: {labels[i]} is out of range")
    return Split(
        ids=ids,
        features=features,
        labels=labels,
        texts=_strings(beside, lists, "texts", n),
        dialogue=_strings(beside, lists, "dialogue", n),
        position=_tensor(path, tensors, "position", "i", (n,)) if "position" in tensors else None,
        speaker=_strings(beside, lists, "speaker", n),
        nonfinite=nonfinite,
        dropped=dropped,
        tokens=_ragged(path, tensors, "text_bert", "i", 1, n) if "values.text_bert" in tensors else None,
        filled={
            m.name: _tensor(path, tensors, f"filled.{m.name}", "b", (n,)).view(np.uint8) != 0
            for m in spec.modalities
            if f"filled.{m.name}" in tensors
        },
    )


def _ragged(path: Path, tensors: dict[str, NDArray[Any]], name: str, kind: str, dim: int, n: int) -> Ragged:
    values = _tensor(path, tensors, f"values.{name}", kind, (None, dim))
    offsets = _tensor(path, tensors, f"offsets.{name}", "i", (n + 1,))
    if offsets[0] != 0 or offsets[-1] != len(values) or (np.diff(offsets) < 0).any():
        raise ImderError(f"{path}: offsets.{name}: they don't divide the {len(values)} frames")
    return Ragged(values, offsets)


def _tensor(
    path: Path, tensors: dict[str, NDArray[Any]], name: str, kind: str, shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """One tensor, small integers and labels read into memory; None in ``shape`` stands for any number."""
    if name not in tensors:
        raise ImderError(f"{path}: {name}: missing")
    array = tensors[name]
    fits = array.ndim == len(shape) and all(s in (None, a) for s, a in zip(shape, array.shape))
    if array.dtype.kind != kind or not fits:
        want = "x".join("any" if s is None else str(s) for s in shape)
        raise ImderError(f"{path}: {name}: {array.dtype} of shape {array.shape}; needed is {kind} of {want}")
    return array if len(shape) > 1 else np.array(array)


def _strings(path: Path, lists: dict[str, Any], key: str, n: int) -> tuple[str, ...] | None:
    values = lists.get(key)
    if values is None:
        return None
    if not isinstance(values, list) or len(values) != n or not all(isinstance(v, str) for v in values):
        raise ImderError(f"{path}: {key}: {n} strings are needed")
    return tuple(values)
