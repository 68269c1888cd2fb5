"""The site shows docstrings as they are meant: doctests as code, formulas as formulas."""

import importlib.util
from pathlib import Path

import markdown
import pytest

PATH = Path(__file__).parents[2] / "tools" / "site" / "docstrings.py"


@pytest.fixture(scope="module")
def rewrite():
    """From a docstring to the Markdown that is rendered."""
    spec = importlib.util.spec_from_file_location("docstrings_extension", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    processor = module.Docstrings(markdown.Markdown())
    return lambda text: "\n".join(processor.run(text.splitlines()))


def test_a_doctest_is_a_code_block(rewrite):
    text = "Sum.\n\n>>> rows = [1, 2]\n>>> sum(rows)\n3\n\nMore."
    assert "```pycon\n>>> rows = [1, 2]\n>>> sum(rows)\n3\n```" in rewrite(text)
    assert rewrite(text).endswith("More.")


def test_formulas_are_rewritten(rewrite):
    assert rewrite("a :math:`x^2` b") == "a $x^2$ b"
    assert rewrite(".. math:: a\n    + b\n\nText").strip() == "$$a + b$$\n\n\nText"


def test_a_fenced_block_stays(rewrite):
    text = "```pycon\n>>> 1 + 1\n2\n```"
    assert rewrite(text) == text
