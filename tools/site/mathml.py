"""Markdown extension: ``$...$`` and ``$$...$$`` become MathML, which browsers render without scripts or fonts from elsewhere."""

from __future__ import annotations

import re
import xml.etree.ElementTree as etree
from typing import Any

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.blockprocessors import BlockProcessor
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor

# An inline formula neither starts nor ends with a space, so that "$5 and $6" stays text.
INLINE = r"(?<![\\$])\$(?!\s)([^$\n]+?)(?<!\s)\$(?![\d$])"


class InlineMath(InlineProcessor):
    """``$x$`` within a paragraph."""

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[str, int, int]:  # type: ignore[override]
        return self.md.htmlStash.store(convert(m.group(1))), m.start(0), m.end(0)


class DisplayMath(BlockProcessor):
    """``$$ ... $$`` as a block of its own."""

    def test(self, parent: etree.Element, block: str) -> bool:
        return block.startswith("$$") and block.rstrip().endswith("$$") and len(block.strip()) > 4

    def run(self, parent: etree.Element, blocks: list[str]) -> None:
        formula = blocks.pop(0).strip()[2:-2].strip()
        box = etree.SubElement(parent, "div", {"class": "formula"})
        box.text = self.parser.md.htmlStash.store(convert(formula, display="block"))


class MathML(Extension):
    """Registers both forms."""

    def extendMarkdown(self, md: Markdown) -> None:
        md.inlinePatterns.register(InlineMath(INLINE, md), "inline-math", 185)
        md.parser.blockprocessors.register(DisplayMath(md.parser), "display-math", 85)


def makeExtension(**options: Any) -> MathML:
    """Entry point that Markdown looks for."""
    return MathML(**options)
