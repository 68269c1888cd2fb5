"""The README's commands are commands, and its Python is Python."""

import re
import shlex
from pathlib import Path

import pytest

from imder.cli.parsers import make_parser

README = Path(__file__).parents[1] / "README.md"


def blocks(language):
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\s*\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)


def commands():
    """Every ``imder ...`` of the shell blocks, continuation lines joined, prompts and comments left out."""
    found = []
    for block in blocks("(?:bash|sh|console|shell)"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words[:1] == ["imder"] or words[:3] == ["python", "-m", "imder"]:
                found.append(tuple(words[1:] if words[0] == "imder" else words[3:]))
    return found


def test_the_readme_shows_commands():
    if "```" not in README.read_text():
        pytest.skip("the README has no examples yet")
    assert commands()


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_is_accepted(words):
    words = [word for word in words if word not in ("--help", "-h")]
    if words and words != ["--version"]:
        make_parser(words).parse_args(words)


@pytest.mark.parametrize("block", blocks("python"))
def test_python_compiles(block):
    if block.lstrip().startswith(">>>"):
        import doctest

        block = "".join(example.source for example in doctest.DocTestParser().get_examples(block))
    compile(block, "README.md", "exec")


def test_a_wrong_command_would_be_noticed():
    from jsonargparse import ArgumentError

    with pytest.raises(ArgumentError):
        make_parser(["train"]).parse_args(["train", "corpus", "--out", "run", "--model.encoder.depth", "3"])
