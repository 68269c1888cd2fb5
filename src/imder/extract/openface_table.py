"""Reading numbers from a table of OpenFace, as OpenFace writes it or as R, pandas and spreadsheets save it again.

Separators are commas, semicolons or tabs; where they aren't commas, decimals may have commas. Cells may be quoted. Empty cells
and the usual words for missing values are NaN, TRUE and FALSE are 1 and 0. Only the columns that a caller asks for must be
numbers. Separators at the ends of lines, blank lines and columns that aren't OpenFace's are ignored.

Rows are parsed one by one, so memory holds the selected columns only, not the 714 that OpenFace writes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from imder.extract.text_files import encoding_of, separator_of
from imder.types import ImderError

_MISSING = frozenset({"", "na", "n/a", "nan", "none", "null", "#n/a", "inf", "infinity", "#div/0!", "?"})
_LOGICAL = {"true": 1.0, "t": 1.0, "false": 0.0, "f": 0.0}


@dataclass(frozen=True)
class OpenTable:
    """A table whose header has been read.

    Attributes:
        path: the file.
        names: the columns' names, without blanks around them.
        file: the rest of the file.
        separator: what separates cells.
    """

    path: Path
    names: tuple[str, ...]
    file: TextIO
    separator: str

    def numbers(
        self, selected: Sequence[str], tracking: Sequence[str], optional: Sequence[str]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64], bool]:
        """Three selections of columns, and whether the last row is incomplete.

        Args:
            selected: columns of features, numbers or missing values.
            tracking: columns of the tracker, likewise.
            optional: columns in which anything else is NaN too.

        Returns:
            Arrays ``(T, len(selected))``, ``(T, len(tracking))`` and ``(T, len(optional))``, and whether the last row was
            incomplete, which leaves it out.

        Raises:
            ImderError: a cell isn't a number, or a row has too few or too many cells.
        """
        places = [[self.names.index(name) for name in names] for names in (selected, tracking, optional)]
        rows: list[NDArray[np.float32]] = []
        others: list[NDArray[np.float64]] = []
        short: tuple[int, int] | None = None  # a row with too few cells, allowed only as the last
        for line, text in enumerate(self.file, start=2):
            if not text.strip():
                continue
            cells = split_cells(self.path, text, self.separator)
            if short is None and len(cells) < len(self.names):
                short = line, len(cells)
                continue
            number, width = (line, len(cells)) if short is None else short
            if short is not None or any(cell.strip() for cell in cells[len(self.names) :]):
                raise ImderError(
                    f"{self.path}: line {number}: {width} values where the header has {len(self.names)} columns"
                )
            numbers = [[self._number(line, cells[i]) for i in part] for part in places[:2]]
            with np.errstate(over="ignore"):
                rows.append(np.array(numbers[0], np.float64).astype(np.float32))
            others.append(np.array(numbers[1] + [self._number(line, cells[i], strict=False) for i in places[2]]))
        values = np.stack(rows) if rows else np.zeros((0, len(selected)), np.float32)
        both = np.stack(others) if rows else np.zeros((0, len(tracking) + len(optional)))
        return values, both[:, : len(tracking)], both[:, len(tracking) :], short is not None

    def _number(self, line: int, text: str, strict: bool = True) -> float:
        """A cell's number; NaN if it is missing."""
        try:
            return float(text)
        except ValueError:
            pass
        word = text.strip().lower()
        if word in _LOGICAL:
            return _LOGICAL[word]
        unsigned = word.lstrip("+-")
        if unsigned in _MISSING or unsigned.startswith(("nan(", "nan_", "1.#")):
            return float("nan")
        try:
            if self.separator != "," and word.count(",") == 1:
                return float(word.replace(",", "."))
        except ValueError:
            pass
        if strict:
            raise ImderError(f"{self.path}: line {line}: {text.strip()[:40]!r} is not a number")
        return float("nan")


@contextmanager
def open_table(path: Path) -> Iterator[OpenTable]:
    """Open a table and read its header.

    Raises:
        ImderError: the file can't be read, isn't text or is empty, or a column's name occurs twice.
    """
    try:
        with path.open("rb") as file:
            encoding = encoding_of(file.read(2))
        with path.open(encoding=encoding) as text:
            header = text.readline()
            separator = separator_of(header)
            yield OpenTable(path, _names(path, header, separator), text, separator)
    except OSError as error:
        raise ImderError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeError:
        raise ImderError(f"{path}: is not text, so not a table of OpenFace") from None


def _names(path: Path, header: str, separator: str) -> tuple[str, ...]:
    if not header.strip():
        raise ImderError(f"{path}: the file is empty")
    names = [name.strip() for name in split_cells(path, header, separator)]
    while not names[-1]:
        names.pop()
    # Rows' names, as R writes them, have no name.
    distinct = {name for name in names if name}
    if len(distinct) + names.count("") < len(names):
        repeated = min(name for name in distinct if names.count(name) > 1)
        raise ImderError(f"{path}: the column {repeated!r} occurs twice")
    return tuple(names)


def split_cells(path: Path, line: str, separator: str) -> list[str]:
    """The cells of a line, without quotes around them.

    Raises:
        ImderError: the line is far too long for one of a table.

    >>> split_cells(Path("a.csv"), '"1"; 2;"3;4"', ";")
    ['1', '2', '3;4']
    """
    if '"' not in line:
        return line.rstrip("\r\n").split(separator)
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True))
    except csv.Error as error:
        raise ImderError(f"{path}: a line can't be split into cells ({error})") from None
