"""Files that a command writes: never an input of the same command, nor a file that isn't a result, without ``--force``."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from imder.jobs.files import check_writable
from imder.types import ImderError

if TYPE_CHECKING:
    from imder.cli.parser import Parser

Columns = tuple[str, ...]

RESULTS: tuple[Columns, ...] = (("available", "missing"), ("model", "run", "protocol", "seed"))
"""Columns by which a CSV is recognised as an earlier result: predictions, or an evaluation."""

FAILURES, REMARKS = (("id", "modality", "reason"),), (("id", "modality", "remark"),)

_LONGEST_HEADER = 1 << 16


def plot_of(out: str | Path) -> Path:
    """The plot beside the CSV of a recording."""
    return Path(out).with_suffix(".png")


def note_of(out: str | Path, kind: str) -> Path:
    """The file of ``failures`` or ``remarks`` beside the CSV of clips."""
    return Path(out).with_name(f"{Path(out).stem}-{kind}.csv")


def add_force(parser: Parser) -> None:
    """The option that lifts the check."""
    parser.add_argument("--force", action="store_true", help="replace whatever --out names")


def check_output(
    out: str | Path,
    kinds: Collection[Columns] | Callable[[Path], bool],
    inputs: Iterable[str | Path | None],
    force: bool,
) -> None:
    """Check, before anything is computed, that a file may be written.

    Args:
        out: the file.
        kinds: columns of the CSV files that this command may replace; none for a PNG of a plot; or a function that says
            whether it may replace a file.
        inputs: files and folders that the command reads.
        force: replace whatever is there.

    Raises:
        ImderError: the file is an input, lies in a folder that is one, is no earlier result, or can't be made.
    """
    if Path(out).is_dir():
        raise ImderError(f"--out {out}: is a folder; name a file")
    check_writable(out)
    if force:
        return
    target = os.path.realpath(out)
    for given in inputs:
        if given is None or not os.path.exists(given):
            continue
        source = os.path.realpath(given)
        same = os.path.exists(target) and os.path.samefile(source, target)
        inside = os.path.isdir(source) and Path(target).is_relative_to(source) and os.path.exists(target)
        if same or (inside and not _is_result(Path(target), kinds)):
            raise ImderError(
                f"--out {out}: is {'' if same else 'in '}an input of this command ({given}); choose another file, or "
                "replace it with --force"
            )
    if os.path.lexists(out) and not _is_result(Path(out), kinds):
        raise ImderError(f"--out {out}: holds something else; choose another file, or replace it with --force")


def _is_result(path: Path, kinds: Collection[Columns] | Callable[[Path], bool]) -> bool:
    """Whether a file is an earlier result: a CSV of one of these kinds, an empty file, or a PNG of matplotlib."""
    if path.is_symlink() or not path.is_file():
        return False
    if callable(kinds):
        return kinds(path)
    with path.open("rb") as file:
        start = file.read(_LONGEST_HEADER)
    if not start:
        return True
    if not kinds:
        return start.startswith(b"\x89PNG\r\n") and b"Matplotlib" in start[:1024]
    try:
        header = next(csv.reader([start.decode("utf-8", errors="replace").splitlines()[0]]), [])
    except csv.Error:
        return False
    return any(set(columns) <= set(header) for columns in kinds)
