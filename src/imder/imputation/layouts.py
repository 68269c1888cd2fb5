"""Draws as files: a corpus for each draw, in the layout of the corpus given.

::

    OUT/imputed.json        {"format": "imder-imputed", "layout", "draws", "model", "seed", "corpus", "split",
                             "samples", "filled": {<modality>: samples}}
    OUT/draw-00/            store: a store (`imder.data.store`);
                            npz: <split>.npz, or OUT/draw-00.npz for a corpus without splits
    OUT/draw-00.pkl         pickle: a dictionary of splits of dictionaries of arrays, as the field shares them

Each is a corpus for `imder.load_corpus`. npz and pickle files have the field names of the file given and its number of frames,
or more where a draw is longer; ``<modality>_filled`` (N,) says which samples were filled, and comes back as
`imder.data.split.Split.filled`.
"""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from imder.data.corpus import Corpus, Split
from imder.data.formats.assemble import FieldShape
from imder.data.formats.npz_file import is_npz
from imder.data.formats.npz_folder import is_npz_folder
from imder.data.formats.pickle_file import is_pickle
from imder.data.split import SPLITS
from imder.data.store import is_store
from imder.data.store_writer import own_files, write_store
from imder.imputation.fields import fields_of
from imder.imputation.imputed import Imputed
from imder.jobs.files import atomic_folder
from imder.types import ImderError

FORMAT = "imder-imputed"
ABOUT = "imputed.json"
_DRAW = re.compile(r"draw-\d+(\.npz|\.pkl)?")
_NPZ = frozenset(f"{name}.npz" for name in SPLITS)

Write = Callable[[Corpus, Mapping[str, FieldShape], Path], None]
"""Writes a corpus of one split to a path without an ending."""


def _store(corpus: Corpus, shapes: Mapping[str, FieldShape], path: Path) -> None:
    del shapes
    write_store(corpus, path, None)


def _npz(corpus: Corpus, shapes: Mapping[str, FieldShape], path: Path) -> None:
    ((name, split),) = corpus.splits.items()
    file = path.with_name(f"{path.name}.npz") if _is_whole(name) else path / f"{name}.npz"
    file.parent.mkdir(exist_ok=True)
    np.savez(file, **fields_of(split, corpus.spec, shapes))


def _pickle(corpus: Corpus, shapes: Mapping[str, FieldShape], path: Path) -> None:
    ((name, split),) = corpus.splits.items()
    fields = fields_of(split, corpus.spec, shapes)
    plain = {key: value.tolist() if value.dtype.kind == "U" else value for key, value in fields.items()}
    data = plain if _is_whole(name) else {name: plain}
    path.with_name(f"{path.name}.pkl").write_bytes(pickle.dumps(data, protocol=4))


LAYOUTS: dict[str, Write] = {"npz": _npz, "store": _store, "pickle": _pickle}
"""The writer of each layout."""


def check_layout(layout: str | None) -> str | None:
    """The layout; `ImderError` for an unknown one."""
    if layout is not None and layout not in LAYOUTS:
        raise ImderError(f"layout: {layout!r} is unknown; use {', '.join(LAYOUTS)}")
    return layout


def layout_of(corpus: Corpus | Split | str | Path) -> str:
    """The layout of the corpus at a path; ``store`` for anything else."""
    if not isinstance(corpus, str | Path) or is_store(corpus):
        return "store"
    path = Path(corpus)
    return "pickle" if is_pickle(path) else "npz" if is_npz(path) or is_npz_folder(path) else "store"


def check_out(out: str | Path, force: bool) -> None:
    """Raise an `ImderError` unless the folder is new or empty, or holds earlier draws alone and ``force`` is True."""
    target = Path(os.path.realpath(out))
    if not target.exists():
        return
    if not target.is_dir():
        raise ImderError(f"{out}: is a file; draws go to a folder")
    others = [path.name for path in target.iterdir() if not _is_own(path)]
    if others:
        raise ImderError(f"{out}: holds {min(others)!r}, which is no draw of imder impute; it is not overwritten")
    if (target / ABOUT).exists() and not force:
        raise ImderError(f"{out}: holds earlier draws; replace them with force=True (--force), or choose another out")


def write_imputed(imputed: Imputed, out: str | Path, layout: str, about: Mapping[str, Any]) -> None:
    """Write all draws to a folder, replacing what `check_out` allows; it exists whole or not at all.

    Args:
        imputed: the draws.
        out: the folder.
        layout: a key of `LAYOUTS`.
        about: further entries of ``imputed.json``.

    Raises:
        ImderError: the layout can't hold a split of this name, or the folder cannot be written.
    """
    if layout != "store" and imputed.split_name not in (*SPLITS, "all"):
        raise ImderError(
            f"split {imputed.split_name!r}: {layout} files have the splits {', '.join(SPLITS)}; write a store "
            "(layout='store', --format store)"
        )
    check_out(out, force=True)
    width = max(2, len(str(imputed.draws - 1)))
    with atomic_folder(os.path.realpath(out)) as part:
        for i in range(imputed.draws):
            LAYOUTS[layout](_with_spec(imputed, i), imputed.shapes, part / f"draw-{i:0{width}d}")
        filled = dict(zip(imputed.names, imputed.filled.sum(axis=0).tolist(), strict=True))
        description = {
            "format": FORMAT,
            "layout": layout,
            "draws": imputed.draws,
            **about,
            "corpus": imputed.name,
            "split": imputed.split_name,
            "samples": len(imputed.given),
            "filled": filled,
        }
        (part / ABOUT).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def _with_spec(imputed: Imputed, draw: int) -> Corpus:
    """A draw under the spec of the corpus given, whose other splits may hold longer sequences."""
    corpus = imputed.corpus(draw)
    return Corpus(corpus.name, imputed.spec, corpus.splits, corpus.recipe)


def _is_whole(split: str) -> bool:
    return split not in SPLITS


def _is_own(path: Path) -> bool:
    """Whether a path in a folder of draws is one that `write_imputed` wrote, as far as names and descriptions tell."""
    if path.is_symlink():
        return False
    if path.name == ABOUT:
        try:
            return bool(json.loads(path.read_bytes())["format"] == FORMAT)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return False
    if not _DRAW.fullmatch(path.name) or not (path.parent / ABOUT).is_file():
        return False
    if path.is_dir():
        names = {file.name for file in path.iterdir()}
        if any(file.is_symlink() or not file.is_file() for file in path.iterdir()):
            return False
        return names <= _NPZ or names <= own_files(path)
    return path.is_file() and path.suffix in (".npz", ".pkl")
