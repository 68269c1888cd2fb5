from __future__ import annotations

import pytest

from imder.evaluation.layout import MARKDOWN_COLUMNS, fit, markdown_blocks
from imder.evaluation.rendering import Table, table_width


def wide(systems: int, joined: int = 1) -> Table:
    labels = ("ACC2", "F1", "MAE")
    heads = ("MR", *(f"system-{s}\n{label}" for s in range(systems) for label in labels))
    row = (("0.1", False), *((f"{s}{i}.0 ± 1.0", False) for s in range(systems) for i in range(3)))
    return Table("title", heads, (row, row), notes=("a note",), joined=joined)


@pytest.mark.parametrize("joined", [1, 3])
@pytest.mark.parametrize("width", [60, 80, 132])
def test_blocks_fit_and_hold_every_column_once(width: int, joined: int) -> None:
    table = wide(7, joined)
    blocks = fit(table, width)
    assert len(blocks) > 1
    assert all(table_width(block) <= width for block in blocks)
    assert [head for block in blocks for head in block.headers[1:]] == list(table.headers[1:])
    assert [cell for block in blocks for cell in block.rows[0][1:]] == list(table.rows[0][1:])
    assert all(block.headers[0] == "MR" for block in blocks)
    assert [block.title for block in blocks] == ["title", *[""] * (len(blocks) - 1)]
    assert [block.notes for block in blocks] == [*[()] * (len(blocks) - 1), ("a note",)]


def test_a_system_stays_in_one_block() -> None:
    for block in fit(wide(5), 80):
        systems = [head.split("\n")[0] for head in block.headers[1:]]
        assert all(systems.count(name) == 3 for name in systems)


def test_a_table_that_fits_is_left_alone() -> None:
    assert fit(wide(1), 80) == [wide(1)]
    assert fit(wide(7)) == [wide(7)]


def test_markdown_has_at_most_eight_columns() -> None:
    lines = [line for line in markdown_blocks(wide(7)).splitlines() if line.startswith("|")]
    assert max(line.count("|") - 1 for line in lines) <= MARKDOWN_COLUMNS
    assert markdown_blocks(wide(7)).count("a note") == 1


def test_systems_apart_begin_a_block() -> None:
    blocks = fit(wide(4, joined=3), 85, apart=("system-2", "system-3"))
    systems = [list(dict.fromkeys(head.split("\n")[0] for head in block.headers[1:])) for block in blocks]
    assert systems == [["system-0", "system-1"], ["system-2", "system-3"]]
    assert fit(wide(4), 500, apart=("system-2",)) == [wide(4)], "it fits"
