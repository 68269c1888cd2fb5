"""A report as one HTML file that needs nothing else: no other file, no address, no library.

Its security policy forbids every request and every script but the page's own. Names and texts of corpora are untrusted: the
template escapes them.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from html import escape
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from imder.jobs.files import atomic_write
from imder.report.content import Content
from imder.report.style import drawing, inline_svg, save_files

MARK = "imder report"
"""What the ``generator`` of a page begins with; by it an earlier report is recognised."""

MOST_BYTES = 5_000_000


def write_page(content: Content, path: str | Path) -> None:
    """Write a report as HTML, atomically.

    Raises:
        ImderError: the file can't be written.
    """
    text = render(content)
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


def render(content: Content) -> str:
    """A report as HTML."""
    script = _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    with drawing():
        svg = {x.name: Markup(inline_svg(x.figure, x.name, escape(x.title))) for x in content.exhibits()}
    page = _template().render(
        content=content,
        svg=svg,
        style=Markup(_asset("page.css")),
        script=Markup(script),
        script_hash=Markup(f"sha256-{digest}"),
        generator=f"{MARK} {version('imder')}",
        footer=f"Made by imder {version('imder')}. This file needs no network and no other file.",
    )
    return page + "\n"


def write_figures(content: Content, folder: str | Path) -> list[str]:
    """Write every figure as SVG and PDF into a folder, which is made if needed; returns the files' names.

    Raises:
        ImderError: a file can't be written.
    """
    with drawing():
        return [name for x in content.exhibits() for name in save_files(x.figure, x.name, Path(folder))]


def is_page(path: str | Path) -> bool:
    """Whether a file is a report, or empty."""
    with Path(path).open("rb") as file:
        start = file.read(2048)
    return not start or (start.startswith(b"<!DOCTYPE html>") and f'content="{MARK} '.encode() in start)


def _asset(name: str) -> str:
    return (files("imder.report") / name).read_text(encoding="utf-8").strip()


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_asset("page.html"))
