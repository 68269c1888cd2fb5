"""The examples in README and documentation: shell commands to parse and Python blocks to run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from imder.cli.entry import parse

ROOT = Path(__file__).parents[1]
PAGES = (
    ROOT / "README.md",
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "notebooks"),  # made of notebooks
)

NOT_RUN = "<!-- not run"
"""A comment that starts so, on the line before a Python block, says why the tests can't run it."""

Command = tuple[str, ...]


def accept(words: Command) -> None:
    """Parse a command without running it.

    Raises:
        ImderError: a wrong command, option or value.
    """
    kept = [word for word in words if word not in ("--help", "-h", "--version")]
    if kept:
        parse(kept)


def blocks(page: Path, language: str) -> list[tuple[str, int, str]]:
    """The fenced blocks of a language: the line before each, the number of its first line, and its text."""
    text = "\n" + page.read_text(encoding="utf-8")
    pattern = re.compile(rf"^([^\n]*)\n```(?:{language})[ ]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
    return [(m[1], text.count("\n", 0, m.start(2)), m[2]) for m in pattern.finditer(text)]


def commands(page: Path) -> list[Command]:
    """The arguments of every ``imder ...`` in shell blocks, continuation lines joined, prompts and comments left out."""
    arguments = []
    for _, _, block in blocks(page, "bash|sh|console|shell"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words = words[1:]
            if words[:1] == ["imder"] or words[:3] == ["python", "-m", "imder"]:
                arguments.append(tuple(words[1:] if words[0] == "imder" else words[3:]))
    return arguments


def python(page: Path) -> list[tuple[str, bool]]:
    """The Python blocks of a page, moved to the lines where they stand, and whether the tests run them."""
    return [
        ("\n" * (line - 1) + block, not before.startswith(NOT_RUN)) for before, line, block in blocks(page, "python")
    ]
