"""Tables that fit: wide ones are stacked as blocks of columns."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from imder.evaluation.rendering import Table, render_markdown, render_rich, table_width

if TYPE_CHECKING:
    from rich.console import Group

MARKDOWN_COLUMNS = 8
"""Columns of a Markdown table at most."""


def fit(table: Table, width: int | None = None, columns: int | None = None, apart: Collection[str] = ()) -> list[Table]:
    r"""Blocks of a table's columns that fit a width, to be stacked; each repeats the leading columns.

    The columns of one system stay in one block where they fit together. The first block has the title, the last the notes.

    Args:
        table: any.
        width: characters of a terminal; None for no limit.
        columns: columns as they are drawn, at most; None for no limit.
        apart: systems whose columns begin a new block where the table doesn't fit as a whole.

    >>> row = tuple((text, False) for text in ("0.1", "81.2", "0.75", "80.1", "0.81"))
    >>> table = Table("t", ("MR", "a\nACC2", "a\nMAE", "b\nACC2", "b\nMAE"), (row,))
    >>> [block.headers for block in fit(table, width=25)]
    [('MR', 'a\nACC2', 'a\nMAE'), ('MR', 'b\nACC2', 'b\nMAE')]
    """
    units = _units(table)
    if _fits(table, units, width, columns):
        return [table]
    blocks: list[list[int]] = [[]]
    before = False
    for system, group in _by_system(table, units).items():
        inside = system.replace("\n", "") in apart
        if blocks[-1] and (inside != before or not _fits(table, [*blocks[-1], *group], width, columns)):
            blocks.append([])
        before = inside
        for unit in [group] if _fits(table, [*blocks[-1], *group], width, columns) else [[i] for i in group]:
            if blocks[-1] and not _fits(table, [*blocks[-1], *unit], width, columns):
                blocks.append([])
            blocks[-1] += unit
    if len(blocks) == 1:
        return [table]
    parts = [_part(table, block) for block in blocks]
    return [
        replace(part, title=table.title if i == 0 else "", notes=table.notes if i == len(parts) - 1 else ())
        for i, part in enumerate(parts)
    ]


def render_blocks(table: Table, width: int | None = None) -> Group:
    """A table for a terminal, in stacked blocks of columns that fit ``width`` characters, with its notes below."""
    from rich.console import Group
    from rich.text import Text

    blocks = [render_rich(replace(block, notes=()), width) for block in fit(table, width)]
    return Group(*blocks, *([Text("\n".join(table.notes), style="italic")] if table.notes else []))


def markdown_blocks(table: Table) -> str:
    """A table in Markdown, in blocks of at most `MARKDOWN_COLUMNS` columns."""
    return "\n".join(render_markdown(block) for block in fit(table, columns=MARKDOWN_COLUMNS))


def _units(table: Table) -> list[int]:
    """Numbers of the drawn columns after the leading ones."""
    return list(range(-(-(len(table.headers) - table.lead) // table.joined)))


def _by_system(table: Table, units: list[int]) -> dict[str, list[int]]:
    """Drawn columns by the system in their header, those without one each by itself."""
    groups: dict[str, list[int]] = {}
    for unit in units:
        system, _, label = table.headers[table.lead + unit * table.joined].rpartition("\n")
        groups.setdefault(system or f"\n{unit}{label}", []).append(unit)
    return groups


def _part(table: Table, units: list[int]) -> Table:
    chosen = [table.lead + unit * table.joined + i for unit in units for i in range(table.joined)]
    kept = [*range(table.lead), *(i for i in chosen if i < len(table.headers))]
    return replace(
        table,
        headers=tuple(table.headers[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in table.rows),
    )


def _fits(table: Table, units: list[int], width: int | None, columns: int | None) -> bool:
    part = _part(table, units)
    return (width is None or table_width(part) <= width) and (columns is None or table.lead + len(units) <= columns)
