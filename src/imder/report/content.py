"""What a report holds: sections of words, facts, figures and tables, independent of how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

from matplotlib.figure import Figure

from imder.evaluation.rendering import Table


@dataclass(frozen=True)
class Exhibit:
    """A figure with the words beside it.

    Attributes:
        name: of its files, unique in a report; letters, digits and hyphens.
        title: what it shows, in a few words.
        words: what it shows and how to read it, in two sentences.
        figure: of a paper's column width (`imder.report.style`).
    """

    name: str
    title: str
    words: str
    figure: Figure


@dataclass(frozen=True)
class DataTable:
    """A table that readers sort and filter, with the words above it.

    Attributes:
        words: what it shows and how to read it.
        table: its text.
        folded: whether it starts closed.
    """

    words: str
    table: Table
    folded: bool = False


@dataclass(frozen=True)
class Listing:
    """Preformatted text, such as a configuration, that starts closed."""

    title: str
    text: str


@dataclass(frozen=True)
class Passage:
    """A sample's text with facts on it."""

    head: str
    text: str


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        title: its heading.
        words: paragraphs.
        facts: names and values.
        sentences: whether the values are sentences, each in a line of its own.
        exhibits: figures.
        passages: samples with their texts.
        tables: below the figures.
        listings: below the tables.
    """

    title: str
    words: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    exhibits: tuple[Exhibit, ...] = ()
    passages: tuple[Passage, ...] = ()
    tables: tuple[DataTable, ...] = ()
    listings: tuple[Listing, ...] = ()
    sentences: bool = False

    @property
    def slug(self) -> str:
        """The name of its anchor."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.title.lower()).split())


@dataclass(frozen=True)
class Content:
    """A whole report.

    Attributes:
        title: of the page.
        summary: sentences below the title.
        sections: in order.
        remarks: what was left out, and why: for the terminal.
    """

    title: str
    summary: tuple[str, ...]
    sections: tuple[Section, ...]
    remarks: tuple[str, ...] = field(default=())

    def exhibits(self) -> list[Exhibit]:
        """All figures, in order."""
        return [exhibit for section in self.sections for exhibit in section.exhibits]
