"""The API pages name modules and objects that exist."""

import re
from importlib import import_module
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PATHS = sorted(
    {p for page in (DOCS / "api.md", *DOCS.glob("api/*.md")) for p in re.findall(r"^::: (\S+)", page.read_text(), re.M)}
)


@pytest.mark.parametrize("path", PATHS)
def test_a_documented_object_exists(path):
    module, _, name = path.rpartition(".")
    try:
        import_module(path)
    except ModuleNotFoundError:
        assert hasattr(import_module(module), name)


def test_every_public_name_is_on_a_page():
    import imder

    text = "".join(page.read_text() for page in (DOCS / "api.md", *DOCS.glob("api/*.md")))
    missing = [name for name in imder.__all__ if not name.startswith("_") and name not in text]
    assert not missing
