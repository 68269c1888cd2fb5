"""The README fits one screen's worth of reading; its commands are commands, and its Python is Python."""

import re

import pytest

from imder.types import ImderError
from markdown_examples import PAGES, accept, commands, python

README = PAGES[0]


def test_the_readme_is_short_and_shows_commands_and_python():
    assert README.name == "README.md"
    assert len(README.read_text().splitlines()) <= 130
    assert commands(README)
    assert python(README)


@pytest.mark.parametrize("words", commands(README), ids=" ".join)
def test_a_command_is_accepted(words):
    accept(words)


@pytest.mark.parametrize("block", [block for block, _ in python(README)])
def test_python_compiles(block):
    compile(block, "README.md", "exec")


def test_relative_links_lead_to_files():
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", README.read_text())
    assert targets
    assert [target for target in targets if not (README.parent / target).is_file()] == []


def test_a_wrong_command_would_be_noticed():
    with pytest.raises(ImderError):
        accept(("train", "corpus", "--out", "run", "--model.encoder.depth", "3"))
