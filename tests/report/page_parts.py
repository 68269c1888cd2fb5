"""Reading a report: its elements, and whether it needs anything from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str) -> int:
        """How many elements of a kind there are."""
        return sum(name == tag for name, _ in self.elements)

    def ids(self) -> list[str]:
        """All ids, in order."""
        return [str(attrs["id"]) for _, attrs in self.elements if "id" in attrs]


def assert_self_contained(text: str) -> Page:
    """No outside address, no second script, no repeated id, no reference without a target, at most 5 MB."""
    page = Page(text)
    assert len(text.encode()) <= 5_000_000
    assert "http:" not in text
    assert "https:" not in text
    assert not re.search(r"[\"'(]//", text)
    assert page.count("script") == 1
    assert page.count("link") == page.count("iframe") == 0
    ids = page.ids()
    assert len(ids) == len(set(ids))
    targets = re.findall(r'(?:href="|url\()#([^")]+)', text)
    assert targets
    assert set(targets) <= set(ids)
    return page
