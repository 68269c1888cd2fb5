"""The command line reference says what the commands' own help says."""

import importlib.util
from pathlib import Path

import pytest

from imder.cli.commands import COMMANDS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generator():
    """The program that writes the page."""
    spec = importlib.util.spec_from_file_location("command_line_page", ROOT / "tools" / "site" / "command_line.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(generator):
    assert generator.PAGE.read_text() == generator.page(), "run python tools/site/command_line.py"


def test_every_command_and_key_is_on_it(generator):
    text = generator.page()
    assert all(f"## imder {name}\n" in text for name in COMMANDS)
    assert "| `learning_rate` | `float` |" in text
    assert "`--protocol " in text


def test_tables_are_not_broken_by_choices(generator):
    for line in generator.page().splitlines():
        if line.startswith("| `"):
            assert line.replace("\\|", "").count("|") - 1 in (3, 4, 5), line
