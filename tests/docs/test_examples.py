"""Documentation and README: every command is accepted, every Python block runs on a tiny corpus."""

import shutil

import pytest

from imder.cli import main
from imder.data.store import write_store
from imder.synthetic.known_truth import KnownTruth
from markdown_examples import PAGES, ROOT, accept, commands, python

NAMES = {page: str(page.relative_to(ROOT)) for page in PAGES}
CHECKED = [page for page in PAGES if page.name != "extending.md"]  # its own tests put the parts in their places
WITH_COMMANDS = sorted({(NAMES[page], words) for page in CHECKED for words in commands(page)})
WITH_PYTHON = [page for page in CHECKED if any(run for _, run in python(page))]


@pytest.mark.parametrize(("page", "words"), WITH_COMMANDS, ids=[f"{page}: {' '.join(w)}" for page, w in WITH_COMMANDS])
def test_a_command_is_accepted(page, words):
    accept(words)


@pytest.mark.parametrize("page", CHECKED, ids=NAMES.get)
def test_python_compiles(page):
    for block, _ in python(page):
        compile(block, str(page), "exec")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """What examples take for granted: corpora of numbers (``features``, ``sentiment``) and of classes (``emotions``), a run of each."""
    folder = tmp_path_factory.mktemp("docs")
    truth = KnownTruth.standard()
    write_store(truth.corpus(60, 24, 24, seed=0), folder / "features")
    write_store(truth.corpus(60, 24, 24, seed=0, task="classification"), folder / "emotions")
    for corpus, run in (("features", "a"), ("emotions", "emotions")):
        assert main(["train", str(folder / corpus), "--out", str(folder / "runs" / run), "--max-epochs", "2"]) == 0
    shutil.copytree(folder / "features", folder / "sentiment")
    shutil.copytree(folder / "runs" / "a", folder / "runs" / "sentiment")
    return folder


@pytest.mark.parametrize("page", WITH_PYTHON, ids=NAMES.get)
def test_python_runs(page, prepared, tmp_path, monkeypatch):
    """The blocks of a page share their names and run in order."""
    monkeypatch.chdir(shutil.copytree(prepared, tmp_path / "here"))
    names: dict[str, object] = {}
    for block, run in python(page):
        if run:
            exec(compile(block, str(page), "exec"), names)
