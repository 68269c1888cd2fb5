"""The examples in README and documentation: shell commands to parse and Python blocks to run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

NOT_RUN = "<!-- not run"
"""A comment that starts so, on the line before a Python block, says why the tests can't run it."""

Command = tuple[str, ...]


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """The fenced blocks of a language, each with the line before it."""
    pattern = rf"^([^\n]*)\n```(?:{language})\s*\n(.*?)^```"
    return re.findall(pattern, "\n" + page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[Command]:
    """The arguments of every ``imder ...`` in shell blocks, continuation lines joined, prompts and comments left out."""
    arguments = []
    for _, block in blocks(page, "bash|sh|console|shell"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words = words[1:]
            if words[:1] == ["imder"] or words[:3] == ["python", "-m", "imder"]:
                arguments.append(tuple(words[1:] if words[0] == "imder" else words[3:]))
    return arguments


def python(page: Path) -> list[tuple[str, bool]]:
    """The Python blocks of a page and whether the tests run them."""
    return [(block, not before.startswith(NOT_RUN)) for before, block in blocks(page, "python")]
