"""Markdown extension: doctests become code blocks, and reStructuredText's formulas become ``$...$``, before anything else."""

from __future__ import annotations

import re
from typing import Any

from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor


class Docstrings(Preprocessor):
    """Rewrites the lines of a docstring; fenced blocks stay as they are."""

    def run(self, lines: list[str]) -> list[str]:
        out: list[str] = []
        fenced = False
        rest = list(lines)
        while rest:
            line = rest.pop(0)
            indent = line[: len(line) - len(line.lstrip())]
            if line.lstrip().startswith(("```", "~~~")):
                fenced = not fenced
            if fenced:
                out.append(line)
            elif line.lstrip().startswith(">>> "):
                block = [line]
                while rest and rest[0].strip():
                    block.append(rest.pop(0))
                out += ["", f"{indent}```pycon", *block, f"{indent}```", ""]
            elif line.lstrip().startswith(".. math::"):
                formula = [line.lstrip().removeprefix(".. math::").strip()]
                while rest and rest[0].strip():
                    formula.append(rest.pop(0).strip())
                out += ["", f"{indent}$${' '.join(filter(None, formula))}$$", ""]
            else:
                out.append(re.sub(r":math:`([^`]+)`", r"$\1$", line))
        return out


class DocstringExtension(Extension):
    """Registers the preprocessor ahead of fenced blocks."""

    def extendMarkdown(self, md: Markdown) -> None:
        md.preprocessors.register(Docstrings(md), "docstrings", 40)


def makeExtension(**options: Any) -> DocstringExtension:
    """Entry point that Markdown looks for."""
    return DocstringExtension(**options)
