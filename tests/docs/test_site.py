"""The site's configuration and the checks that ``make docs`` makes of what it built."""

import runpy
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
check = runpy.run_path(str(ROOT / "tools" / "site" / "check.py"))


def pages(nav):
    """The page files that a navigation names, in order."""
    for entry in nav:
        for target in entry.values():
            yield from [target] if isinstance(target, str) else pages(target)


def test_the_navigation_names_every_page_once():
    nav = list(pages(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))
    docs = ROOT / "docs"
    assert sorted(nav) == sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))


def site(tmp_path, body, **files):
    """A built site of one page and some more files."""
    (tmp_path / "index.html").write_text(f"<html><body>{body}</body></html>")
    for name, text in files.items():
        (tmp_path / name.replace("_", ".")).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('<a href="b.html">b</a>', "index.html: b.html does not exist"),
        ('<a href="a.html#end">a</a>', "index.html: a.html#end has no such anchor"),
        ('<a href="#end">end</a>', "index.html: #end has no such anchor"),
        ('<img src="plot.png">', "index.html: plot.png does not exist"),
        (
            '<script src="https://example.org/x.js"></script>',
            "index.html: loads https://example.org/x.js from the network",
        ),
        (
            '<link rel="stylesheet" href="//example.org/x.css">',
            "index.html: loads //example.org/x.css from the network",
        ),
    ],
)
def test_a_fault_of_a_page_is_one_line(tmp_path, body, message):
    assert check["problems"](site(tmp_path, body, a_html='<p id="top">')) == [message]


def test_a_style_sheet_may_not_load_fonts_from_the_network(tmp_path):
    folder = site(tmp_path, "", x_css='@font-face { src: url("https://example.org/a.woff2") }')
    assert check["problems"](folder) == ["x.css: loads https://example.org/a.woff2 from the network"]


def test_links_to_pages_anchors_and_other_sites_are_no_faults(tmp_path):
    body = '<p id="end"><a href="#end">x</a> <a href="a.html#top">y</a> <a href="https://example.org">z</a> <img src="data:image/png;base64,">'
    assert check["problems"](site(tmp_path, body, a_html='<p id="top">')) == []


def test_formulas_become_mathml():
    pytest.importorskip("latex2mathml", reason="needs the extra docs")
    markdown = pytest.importorskip("markdown", reason="needs the extra docs")
    extension = runpy.run_path(str(ROOT / "tools" / "site" / "mathml.py"))["makeExtension"]()
    html = markdown.markdown(
        "With $\\sigma_t$ known:\n\n$$\nx = \\frac{1}{2}\n$$\n\nIt costs $5 or $6; `$HOME` is code.",
        extensions=[extension],
    )
    assert html.count("<math") == 2
    assert "<mfrac>" in html
    assert "$5 or $6" in html
    assert "<code>$HOME</code>" in html
