"""Adding a system takes the file and the line that CONTRIBUTING.md shows, and nothing else."""

import ast
import importlib.util
import re
import sys
from pathlib import Path

import pytest

from imder.cli import main
from imder.data.store import write_store
from imder.evaluation.results import read_csv
from imder.models import registry
from imder.models.base import Model
from imder.synthetic.known_truth import KnownTruth

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
FILE, LINE = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture
def added(tmp_path, monkeypatch):
    """The file as a module of the package, the line executed as the registry would."""
    path = tmp_path / "average.py"
    path.write_text(FILE)
    spec = importlib.util.spec_from_file_location("imder.models.average", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "imder.models.average", module)
    spec.loader.exec_module(module)
    line = ast.literal_eval("{" + LINE + "}")
    for name, path in line.items():
        monkeypatch.setitem(registry.SYSTEMS, name, path)
    return next(iter(line))


def test_all_of_the_example_learns(added):
    """Modules that a phase doesn't train stay in evaluation mode: their dropout would never be applied."""
    system = registry.system_class(added)
    model = system(KnownTruth.standard().corpus(2, 2, 2).spec, system.config_type())
    named = {id(m) for part in model.trainable_modules("stage1") for m in part.modules()}
    assert {id(m) for m in model.modules()} - named == {id(model)}


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_the_example_trains_evaluates_predicts_and_loads(added, task, tmp_path, capsys):
    corpus, run = tmp_path / "corpus", tmp_path / "run"
    write_store(KnownTruth.standard().corpus(200, 60, 60, seed=0, task=task), corpus)
    train = ["train", str(corpus), "--preset", added, "--out", str(run), "--threads", "1", "--max-epochs", "30"]
    assert main([*train, "--training.stage1.missing", "every"]) == 0
    table = tmp_path / "table.csv"
    evaluate = ["evaluate", str(run), str(corpus), "--rates", "0,0.5", "--draws", "2", "--threads", "1"]
    assert main([*evaluate, "--out", str(table)]) == 0
    assert main(["predict", str(run), str(corpus), "--split", "test", "--out", str(tmp_path / "p.csv")]) == 0
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 61
    rows = read_csv(table)
    better = {"regression": ("mae", -1), "classification": ("accuracy", 1)}[task]
    score = {m: better[1] * next(r[better[0]] for r in rows if r["model"] == m) for m in (added, "constant")}
    assert score[added] > score["constant"]
    assert Model.from_pretrained(run).system == added
    capsys.readouterr()
    assert main(["train", str(corpus), "--preset", "averag", "--out", str(tmp_path / "no")]) == 2
    assert added in capsys.readouterr().err
