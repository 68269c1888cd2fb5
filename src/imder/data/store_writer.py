"""Writing the store of a corpus (`imder.data.store`)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from imder.data.mapped import mapped_zeros
from imder.data.safetensors_file import Tensor, read_tensors, write_tensors
from imder.data.split import Ragged, Split
from imder.jobs import documents
from imder.jobs.files import atomic_folder, check_writable, written_to
from imder.types import ImderError

if TYPE_CHECKING:
    from imder.data.corpus import Corpus

FORMAT = "imder-corpus"
VERSION = 1
SPLIT_NAME = re.compile(r"[A-Za-z0-9_-]+")
_CHUNK = 1 << 22  # values converted at a time
_LISTS = ("texts", "dialogue", "speaker")
_NOTES = (
    "failures.csv",
    "remarks.csv",
    "words.csv",
)  # the only other files of a store; a folder with any more is never replaced


def write_store(
    corpus: Corpus,
    folder: str | Path,
    dtype: Literal["float16", "float32"] | None = "float32",
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write a corpus as a store, replacing a store of that name. Values are written in chunks, so memory stays flat.

    Args:
        corpus: any corpus, memory-mapped or not.
        folder: the store.
        dtype: of the features on disk; None for each modality's own (float16, or else float32).
        notes: contents of ``failures.csv``, ``remarks.csv`` and ``words.csv``, if any.

    Raises:
        ImderError: the folder holds anything but a store, or a value doesn't fit ``dtype`` (the message names modality and
            sample); nothing is then written.
    """
    if dtype not in ("float16", "float32", None):
        raise ImderError(f"{folder}: unknown dtype {dtype!r}; use 'float16' or 'float32'")
    target = check_replaceable(folder)
    with atomic_folder(target) as part:
        for name, split in corpus.splits.items():
            if not SPLIT_NAME.fullmatch(name):
                raise ImderError(f"{folder}: a split cannot be called {name!r}")
            _write_split(part, name, split, dtype)
        for name, text in (notes or {}).items():
            assert name in _NOTES, name
            (part / name).write_text(text, encoding="utf-8")
        _write_json(part / "corpus.json", _describe(corpus, dtype))


def space_for(shape: tuple[int, int], file: Path | None) -> NDArray[np.float32]:
    """An array ``shape`` for features to be written to a store, memory-mapped in a new ``file``.

    It is in memory where ``file`` is None or the shape is empty.

    Raises:
        ImderError: there is no space for the file.
    """
    if file is None or 0 in shape:
        return np.zeros(shape, np.float32)
    with written_to(file), file.open("w+b") as opened:
        return mapped_zeros(shape, opened, file)


def check_replaceable(folder: str | Path) -> Path:
    """The real path of a folder that is new, empty, or a store without foreign files; an `ImderError` for any other.

    The claims of ``corpus.json`` are not trusted: a file counts as the store's own if it has one of the names that
    `write_store` gives, is a regular file and, for a split, has the content of a split's file.
    """
    target = Path(os.path.realpath(folder))
    check_writable(target)
    if not target.exists():
        return target
    if not target.is_dir():
        raise ImderError(f"{folder}: is a file; a store is a folder")
    own = own_files(target)
    others = sorted(p.name for p in target.iterdir() if p.name not in own or p.is_symlink() or not p.is_file())
    if others:
        raise ImderError(f"{folder}: holds {others[0]!r}, which is no part of a store; it is not overwritten")
    return target


def own_files(folder: Path) -> set[str]:
    """Names of a store's own files in a folder; none where the folder is no store."""
    try:
        about = json.loads((folder / "corpus.json").read_bytes())
        if about["format"] != FORMAT:
            return set()
        own = {"corpus.json", *_NOTES}
        for split in filter(SPLIT_NAME.fullmatch, about["splits"]):
            if isinstance(read_json(folder / f"{split}.json").get("ids"), list):
                read_tensors(folder / f"{split}.safetensors")
                own |= {f"{split}.json", f"{split}.safetensors"}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()
    return own


def _describe(corpus: Corpus, dtype: str | None) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": corpus.name,
        "dtype": dtype or "own",
        "spec": corpus.spec.to_dict(),
        "splits": {
            name: {"n": len(split), "dropped": split.dropped, "nonfinite": dict(split.nonfinite)}
            for name, split in corpus.splits.items()
        },
        **({} if corpus.recipe is None else {"recipe": dict(corpus.recipe)}),
    }


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _write_split(folder: Path, name: str, split: Split, dtype: str | None) -> None:
    tensors: dict[str, Tensor] = {}
    for modality, ragged in split.features.items():
        offsets = ragged.offsets - ragged.offsets[0]
        shape = (int(offsets[-1]), ragged.dim)
        kind = dtype or ("float16" if ragged.values.dtype == np.float16 else "float32")
        pieces = _pieces(f"{name}: {modality}", split, ragged, np.dtype(kind))
        tensors[f"values.{modality}"] = Tensor("F16" if kind == "float16" else "F32", shape, pieces)
        tensors[f"offsets.{modality}"] = Tensor("I64", offsets.shape, [offsets])
    if split.labels is not None:
        tensors["labels"] = Tensor("F32" if split.labels.dtype.kind == "f" else "I64", (len(split),), [split.labels])
    if split.position is not None:
        tensors["position"] = Tensor("I64", (len(split),), [split.position])
    if split.tokens is not None:
        start, stop = int(split.tokens.offsets[0]), int(split.tokens.offsets[-1])
        tensors["values.text_bert"] = Tensor("I64", (stop - start, 1), [split.tokens.values[start:stop]])
        tensors["offsets.text_bert"] = Tensor("I64", split.tokens.offsets.shape, [split.tokens.offsets - start])
    for modality, marks in split.filled.items():
        tensors[f"filled.{modality}"] = Tensor("BOOL", (len(split),), [marks])
    write_tensors(folder / f"{name}.safetensors", tensors)
    lists = {key: getattr(split, key) for key in _LISTS}
    _write_json(folder / f"{name}.json", {"ids": list(split.ids), **lists})


def _pieces(where: str, split: Split, ragged: Ragged, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """All frames in chunks of the dtype to write; raises an `ImderError` at a value that isn't finite in it."""
    start, stop = int(ragged.offsets[0]), int(ragged.offsets[-1])
    step = max(1, _CHUNK // max(1, ragged.dim))
    for begin in range(start, stop, step):
        values = ragged.values[begin : min(begin + step, stop)]
        with np.errstate(over="ignore"):
            piece = values.astype(dtype)
        finite = np.isfinite(piece)
        if not finite.all():
            frame, column = np.argwhere(~finite)[0]
            sample = split.ids[int(np.searchsorted(ragged.offsets, begin + frame, side="right")) - 1]
            value = values[frame, column]
            advice = f"does not fit {dtype}; write the store as float32" if np.isfinite(value) else "is not finite"
            raise ImderError(f"{where}: sample {sample!r}: the value {value:g} {advice}")
        yield piece


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object (`ImderError` where it doesn't)."""
    data = documents.read_json(path)
    if not isinstance(data, dict):
        raise ImderError(f"{path}: damaged")
    return data
