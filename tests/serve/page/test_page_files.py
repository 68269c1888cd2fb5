"""The page's files: complete, no address of another host, nothing that a strict Content-Security-Policy forbids."""

from __future__ import annotations

import re

import pytest

from fake_service import PAGE, TYPES

SCRIPTS = sorted(PAGE.glob("*.js"))
HTML = (PAGE / "index.html").read_text("utf-8")
MOST_LINES = 300


@pytest.mark.parametrize("path", sorted(PAGE.iterdir()), ids=lambda path: path.name)
def test_a_file_is_of_a_known_kind_short_and_names_no_other_host(path):
    assert path.suffix in TYPES
    text = path.read_text("utf-8")
    assert text.count("\n") < MOST_LINES
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[\w./]*", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "//www.w3.org/2000/svg"}
    assert "@import" not in text


def test_the_html_has_no_inline_script_style_or_listener():
    assert not re.search(r"<script(?![^>]*\bsrc=)", HTML)
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", HTML)


def test_no_script_writes_markup_or_evaluates_text():
    for path in SCRIPTS:
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", path.read_text("utf-8")
        )


def test_every_file_that_is_named_exists_and_every_file_is_named():
    named = set(re.findall(r'(?:href|src)="([\w-]+\.\w+)"', HTML))
    for path in SCRIPTS:
        named |= set(re.findall(r'(?:from |URL\()"\.?/?([\w-]+\.js)"', path.read_text("utf-8")))
    assert named == {path.name for path in PAGE.iterdir()} - {"index.html"}


def test_every_element_that_a_script_looks_up_is_in_the_html():
    ids = set(re.findall(r'\sid="([\w-]+)"', HTML))
    for path in SCRIPTS:
        wanted = set(re.findall(r'byId\("([\w-]+)"\)', path.read_text("utf-8")))
        assert wanted <= ids | {"token"}, path.name
