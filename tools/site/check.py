"""Check the built site: ``python tools/site/check.py site``.

Zensical's strict mode finds dead links between pages; this also finds missing pictures, links and anchors in generated HTML, and anything
that a page would load from the network. Links that a reader may follow to other sites are allowed and not fetched.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# (element, attribute) pairs that make a browser load something by itself.
LOADS = {
    ("img", "src"),
    ("script", "src"),
    ("link", "href"),
    ("iframe", "src"),
    ("source", "src"),
    ("video", "src"),
    ("object", "data"),
}


class Page(HTMLParser):
    """Collects the anchors, the links and the loads of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value is not None}
        self.anchors.update(values[name] for name in ("id", "name") if name in values)
        for name, value in values.items():
            if (tag, name) in LOADS and values.get("rel") != "canonical":
                self.loads.append(value)
            elif tag == "a" and name == "href":
                self.links.append(value)


def problems(site: Path) -> list[str]:
    """One line for each dead link, missing file and load from the network, sorted by page."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    lines = []
    for path, page in pages.items():
        name = path.relative_to(site)
        for target in page.loads + page.links:
            address = urlsplit(target)
            if address.scheme or target.startswith("//"):
                if target in page.loads and address.scheme != "data":
                    lines.append(f"{name}: loads {target} from the network")
                continue
            # The page for unknown addresses is served from any folder, so its links are absolute.
            base = site if address.path.startswith("/") else path.parent
            file = (base / unquote(address.path).lstrip("/")).resolve() if address.path else path.resolve()
            if not file.is_file():
                lines.append(f"{name}: {target} does not exist")
            elif address.fragment and file.suffix == ".html" and unquote(address.fragment) not in anchors(pages, file):
                lines.append(f"{name}: {target} has no such anchor")
    for path in sorted(site.rglob("*.css")):
        for target in re.findall(
            r"(?:url\(|@import\s*)[\"']?((?:https?:)?//[^)\"']*)", path.read_text(encoding="utf-8")
        ):
            lines.append(f"{path.relative_to(site)}: loads {target} from the network")
    return lines


def anchors(pages: dict[Path, Page], file: Path) -> set[str]:
    """The anchors of a page, with those that scripts understand on every page."""
    by_path = {path.resolve(): page for path, page in pages.items()}
    return by_path[file].anchors | {"__search"}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    lines = problems(folder)
    print(
        "\n".join(lines) or f"{len(list(folder.rglob('*.html')))} pages: no dead links, nothing loaded from the network"
    )
    sys.exit(bool(lines))
