"""Draws as files: a corpus for each draw, in the layout of the corpus given.

::

    OUT/imputed.json        {"format": "imder-imputed", "layout", "draws", "model", "seed", "corpus",
                             "splits": {<split>: {"samples", "filled": {<modality>: samples}}}}
    OUT/draw-00/            store: a store (`imder.data.store`);
                            npz: <split>.npz, or OUT/draw-00.npz for a corpus without splits
    OUT/draw-00.pkl         pickle: a dictionary of splits of dictionaries of arrays, as the field shares them

Each is a corpus for `imder.load_corpus`. npz and pickle files are like the file given (`imder.imputation.fields`), with more
frames where a draw is longer; ``<modality>_filled`` (N,) says which samples were filled, and comes back as
`imder.data.split.Split.filled`.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imder.data.corpus import Corpus, Split
from imder.data.formats.npz_file import is_npz
from imder.data.formats.npz_folder import is_npz_folder
from imder.data.formats.pickle_file import is_pickle
from imder.data.split import SPLITS
from imder.data.store import is_store
from imder.data.store_writer import own_files, write_store
from imder.imputation.fields import fields_of, unwritten
from imder.imputation.imputed import Imputed
from imder.jobs.files import atomic_folder, check_writable
from imder.types import ImderError

log = logging.getLogger(__name__)

FORMAT = "imder-imputed"
ABOUT = "imputed.json"
_DRAW = re.compile(r"draw-\d+(\.npz|\.pkl)?")
_NPZ = frozenset(f"{name}.npz" for name in SPLITS)

Write = Callable[[Sequence[Imputed], int, Path], None]
"""Writes one draw of the splits of a corpus to a path without an ending."""


def _store(parts: Sequence[Imputed], draw: int, path: Path) -> None:
    splits = {part.split_name: part.split(draw) for part in parts}
    write_store(Corpus(parts[0].name, parts[0].spec, splits, parts[0].recipe), path, None)


def _npz(parts: Sequence[Imputed], draw: int, path: Path) -> None:
    for part in parts:
        is_whole = part.split_name not in SPLITS
        file = path.with_name(f"{path.name}.npz") if is_whole else path / f"{part.split_name}.npz"
        file.parent.mkdir(exist_ok=True)
        np.savez(file, **_fields(part, draw, lists=False))


def _pickle(parts: Sequence[Imputed], draw: int, path: Path) -> None:
    data: dict[str, Any] = {}
    for part in parts:
        fields = _fields(part, draw, lists=True)
        plain = {
            key: x.tolist() if isinstance(x, np.ndarray) and x.dtype.kind == "U" else x for key, x in fields.items()
        }
        data |= plain if part.split_name not in SPLITS else {part.split_name: plain}
    path.with_name(f"{path.name}.pkl").write_bytes(pickle.dumps(data, protocol=4))


def _fields(part: Imputed, draw: int, *, lists: bool) -> dict[str, Any]:
    return fields_of(part.split(draw), part.spec, part.file, part.rows, lists=lists)


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
    if not str(out):
        raise ImderError("out (--out): the path of a folder is needed, got an empty one")
    target = Path(os.path.realpath(out))
    check_writable(target)
    if not target.exists():
        return
    if not target.is_dir():
        raise ImderError(f"{out}: is a file; draws go to a folder")
    others = [path.name for path in target.iterdir() if not _is_own(path)]
    if others:
        raise ImderError(f"{out}: holds {min(others)!r}, which is no draw of imder impute; it is not overwritten")
    if (target / ABOUT).exists() and not force:
        raise ImderError(f"{out}: holds earlier draws; replace them with force=True (--force), or choose another out")


def write_imputed(parts: Sequence[Imputed], out: str | Path, layout: str, about: Mapping[str, Any]) -> None:
    """Write all draws to a folder, replacing what `check_out` allows; it exists whole or not at all.

    Args:
        parts: the draws of one or more splits of a corpus.
        out: the folder.
        layout: a key of `LAYOUTS`.
        about: further entries of ``imputed.json``.

    Raises:
        ImderError: the layout can't hold a split of this name, or the folder cannot be written.
    """
    for name in (part.split_name for part in parts):
        if layout != "store" and name not in (*SPLITS, "all"):
            raise ImderError(
                f"split {name!r}: {layout} files have the splits {', '.join(SPLITS)}; write a store "
                "(layout='store', --format store)"
            )
    check_out(out, force=True)
    if layout != "store":
        lost = dict.fromkeys(name for part in parts for name in unwritten(part.file, layout == "pickle"))
        if lost:
            log.warning("%s: left out, since %s files hold numbers and strings: %s", out, layout, ", ".join(lost))
    draws = parts[0].draws
    width = max(2, len(str(draws - 1)))
    with atomic_folder(os.path.realpath(out)) as folder:
        for i in range(draws):
            LAYOUTS[layout](parts, i, folder / f"draw-{i:0{width}d}")
        splits = {
            part.split_name: {
                "samples": len(part.given),
                "filled": dict(zip(part.names, part.filled.sum(axis=0).tolist(), strict=True)),
            }
            for part in parts
        }
        about = {"format": FORMAT, "layout": layout, "draws": draws, **about, "corpus": parts[0].name, "splits": splits}
        (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def first_draw(out: str | Path) -> Path:
    """The path of the first draw in a folder that `write_imputed` wrote."""
    return min(path for path in Path(out).iterdir() if _DRAW.fullmatch(path.name))


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
