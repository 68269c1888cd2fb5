"""Rows of results: lists of mappings that a notebook shows as a table and pandas reads."""

from __future__ import annotations

from html import escape
from typing import Any

from imder.types import ImderError


class Rows(list[dict[str, Any]]):
    """Rows of a result: a list of mappings that a notebook shows as a table.

    ``pandas.DataFrame(rows)`` works as for any list of mappings; nothing here needs pandas.

    >>> rows = Rows([{"id": "a", "prediction": 0.5}, {"id": "b", "prediction": -1.0, "label": 2.0}])
    >>> rows.columns
    ('id', 'prediction', 'label')
    >>> rows["prediction"]
    [0.5, -1.0]
    >>> rows
    id  prediction  label
    a          0.5
    b           -1      2
    """

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns, in order of appearance."""
        return tuple(dict.fromkeys(name for row in self for name in row))

    def __getitem__(self, item: Any) -> Any:
        """A row by its index, rows by a slice, or a column (None where a row lacks it) by its name."""
        if isinstance(item, str):
            if item not in self.columns:
                raise ImderError(f"there is no column {item!r}; there are {', '.join(self.columns)}")
            return [row.get(item) for row in self]
        value = super().__getitem__(item)
        return Rows(value) if isinstance(item, slice) else value

    def __repr__(self) -> str:
        """The first rows as a table of text."""
        if not self:
            return "no rows"
        names, first = self.columns, self[:MOST_LINES]
        cells = [[_cut(name), *(_cut(_shown(row.get(name))) for row in first)] for name in names]
        widths = [max(map(len, column)) for column in cells]
        wide = [sum(widths[: i + 1]) + 2 * i <= MOST_CHARACTERS for i in range(len(names))]
        shown = max(1, sum(wide))
        is_number = [all(isinstance(row.get(name), int | float | None) for row in first) for name in names]
        lines = [
            "  ".join(
                cell.rjust(width) if number else cell.ljust(width)
                for cell, width, number in zip(line[:shown], widths, is_number, strict=False)
            ).rstrip()
            for line in zip(*cells, strict=True)
        ]
        lines += [f"... {len(self)} rows"] if len(self) > len(first) else []
        lines += [f"more columns: {', '.join(names[shown:])}"] if shown < len(names) else []
        return "\n".join(lines)

    def to_dataframe(self) -> Any:
        """A `pandas.DataFrame`.

        Raises:
            ImderError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise ImderError("pandas is not installed: pip install pandas") from None
        return pandas.DataFrame(list(self))

    def _repr_html_(self) -> str:
        """The first rows as a table, for notebooks."""
        shown, columns = self[:MOST_ROWS_SHOWN], self.columns
        head = "".join(f"<th>{escape(name)}</th>" for name in columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(_shown(row.get(name)))}</td>" for name in columns) + "</tr>" for row in shown
        )
        more = f"<p>{len(self)} rows, the first {len(shown)} shown</p>" if len(self) > len(shown) else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


MOST_ROWS_SHOWN = 20
MOST_LINES = 10
MOST_CHARACTERS = 118
MOST_IN_CELL = 24


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MOST_IN_CELL else text[: MOST_IN_CELL - 3] + "..."


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
