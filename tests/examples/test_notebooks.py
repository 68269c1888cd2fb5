"""The notebooks run from the first cell to the last, and are stored with the outputs of a real run."""

import ast
import json
import os
import runpy
from pathlib import Path

import matplotlib
import pytest

from imder.models import registry

FOLDER = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 150_000
LONG = ("first_steps", "inside_a_recovery")


def code_cells(path):
    """The code cells of a notebook."""
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def run_cell(source, namespace):
    """Execute a cell as a notebook does: a file is written, the last expression is shown."""
    if source.startswith("%%writefile "):
        name, _, text = source.removeprefix("%%writefile ").partition("\n")
        Path(name.strip()).write_text(text)
        return
    tree = ast.parse(source)
    last = ast.Expression(tree.body.pop().value) if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), namespace)
    if last is not None:
        value = eval(compile(last, "cell", "eval"), namespace)
        assert repr(value)
        getattr(value, "_repr_html_", str)()


def test_there_are_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["first_steps", "inside_a_recovery", "your_own_system_and_encoder"]


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=pytest.mark.slow if path.stem in LONG else ()) for path in NOTEBOOKS],
)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "SYSTEMS", dict(registry.SYSTEMS))
    namespace = {"__name__": "__main__"}
    for cell in code_cells(path):
        run_cell("".join(cell["source"]), namespace)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_with_its_outputs(path):
    cells = code_cells(path)
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), "run it from the top"
    assert outputs
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert path.stat().st_size < MOST_BYTES
    assert "/tmp/" not in path.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_in_jupyter(path, tmp_path):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(path, as_version=4)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()


def test_the_pages_of_the_site_show_the_notebooks():
    program = runpy.run_path(str(FOLDER.parent / "tools" / "site" / "notebooks.py"))
    for path, content in program["pages"]().items():
        assert path.read_bytes() == content, "run python tools/site/notebooks.py"
