"""Tables of text for a terminal, in Markdown and in LaTeX.

Each row is a sequence of (text, bold). With ``joined`` above 1, that many columns of a system share one, separated by " / ",
as papers print "ACC2 / F1 / ACC7".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from rich.table import Table as RichTable

Part = tuple[str, bool]
T = TypeVar("T")


@dataclass(frozen=True)
class Table:
    """A table as text: a title, headers (a system above its metric), and rows of (text, bold)."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[Part, ...], ...]
    sections: tuple[int, ...] = ()
    """Indices of the rows that a rule follows."""
    notes: tuple[str, ...] = ()
    """Lines below the table."""
    lead: int = 1
    """The number of columns before those of the systems."""
    joined: int = 1
    """The number of a system's columns that share one."""

    def heads(self) -> list[str]:
        """Headers after joining columns."""
        lead, rest = list(self.headers[: self.lead]), self.headers[self.lead :]
        for group in _groups(rest, self.joined):
            model = group[0].rpartition("\n")[0]
            label = " / ".join(header.rpartition("\n")[2] for header in group)
            lead.append(f"{model}\n{label}" if model else label)
        return lead

    def cells(self) -> list[list[tuple[Part, ...]]]:
        """Rows after joining columns; a cell has as many parts as columns were joined."""
        return [
            [*((part,) for part in row[: self.lead]), *(_same(g) for g in _groups(row[self.lead :], self.joined))]
            for row in self.rows
        ]


def _groups(items: tuple[T, ...], size: int) -> list[tuple[T, ...]]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def _same(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Joined parts; a single empty part where all are empty."""
    return parts[:1] if len(parts) > 1 and all(text in ("", "–") for text, _ in parts) else parts


def table_width(table: Table) -> int:
    """The width of a table in a terminal, in characters."""
    rows = [[" / ".join(text for text, _ in cell) for cell in row] for row in table.cells()]
    columns = [[*h.split("\n"), *(row[i] for row in rows)] for i, h in enumerate(table.heads())]
    return 1 + sum(3 + max(map(len, texts)) for texts in columns)


def render_rich(table: Table, width: int | None = None) -> RichTable:
    """A Rich table. If it is wider than ``width``, deviations and intervals go below their means."""
    from rich.table import Table as RichTable
    from rich.text import Text

    title = Text(table.title, style="italic") if table.title else None
    drawn = RichTable(title=title, title_justify="left", caption_justify="left")
    drawn.caption = Text("\n".join(table.notes)) if table.notes else None
    narrow = width is not None and table_width(table) > width
    for i, header in enumerate(table.heads()):
        justify: Literal["left", "right"] = "left" if i == 0 or header == "model" else "right"
        drawn.add_column(Text(header), justify=justify, no_wrap=True, overflow="fold")
    for i, row in enumerate(table.cells()):
        texts = []
        for cell in row:
            parts = [
                Text(t.replace(" ±", "\n±").replace(" [", "\n[") if narrow else t, "bold" if bold else "")
                for t, bold in cell
            ]
            texts.append(Text(" / ").join(parts))
        drawn.add_row(*texts, end_section=i in table.sections)
    return drawn


def render_markdown(table: Table) -> str:
    """A Markdown table without title, each note a paragraph below; ends in a newline."""
    heads = [header.replace("\n", " ") for header in table.heads()]
    rows = [[" / ".join(f"**{t}**" if bold else t for t, bold in cell) for cell in row] for row in table.cells()]
    rule = ["---", *("---:" for _ in heads[1:])]
    lines = [f"| {' | '.join(row)} |\n" for row in [heads, rule, *rows]]
    return "".join([*lines, *(f"\n{note}\n" for note in table.notes)])


def render_latex(table: Table) -> str:
    """A LaTeX table environment with the title as caption and notes below; needs booktabs and adjustbox.

    A system's name spans its columns.
    """
    split = [header.rpartition("\n")[::2] for header in table.heads()[table.lead :]]
    lead = [header.replace("\n", " ") for header in table.heads()[: table.lead]]
    spans: list[list[object]] = []
    for model, _ in split:
        if spans and spans[-1][0] == model:
            spans[-1][1] = int(str(spans[-1][1])) + 1
        else:
            spans.append([model, 1])
    names = [f"\\multicolumn{{{count}}}{{c}}{{{escape_latex(str(model))}}}" for model, count in spans]
    lines = [
        "\\begin{table}",
        f"\\caption{{{escape_latex(table.title)}}}",
        f"\\label{{tab:{re.sub('[^a-z0-9]+', '-', table.title.lower()).strip('-')}}}",
        "\\centering",
        "\\begin{adjustbox}{max width=\\linewidth}",
        f"\\begin{{tabular}}{{{'l' * table.lead}{'r' * len(split)}}}",
        "\\toprule",
    ]
    if any(model for model, _ in split):
        lines.append(" & ".join([*("" for _ in lead), *names]).strip() + " \\\\")
    lines += [" & ".join(map(escape_latex, [*lead, *(label for _, label in split)])) + " \\\\", "\\midrule"]
    for i, row in enumerate(table.cells()):
        cells = [
            " / ".join(f"\\textbf{{{escape_latex(t)}}}" if b else escape_latex(t) for t, b in cell) for cell in row
        ]
        lines.append(" & ".join(cells) + " \\\\")
        if i in table.sections:
            lines.append("\\midrule")
    lines += ["\\bottomrule", "\\end{tabular}", "\\end{adjustbox}"]
    lines += [f"\\par\\smallskip{{\\footnotesize {escape_latex(note)}\\par}}" for note in table.notes]
    return "\n".join([*lines, "\\end{table}", ""])


_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "±": r"$\pm$",
    "–": "--",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
}


def escape_latex(text: str) -> str:
    r"""Plain text with LaTeX's special characters escaped.

    >>> escape_latex("a_b & 50 % ± 1")
    'a\\_b \\& 50 \\% $\\pm$ 1'
    """
    return re.sub("|".join(map(re.escape, _SPECIAL)), lambda match: _SPECIAL[match.group()], text).replace("\n", " ")


def with_notes(table: Table, notes: tuple[str, ...]) -> Table:
    """The table with more notes; duplicates are dropped."""
    return replace(table, notes=tuple(dict.fromkeys([*table.notes, *notes])))
