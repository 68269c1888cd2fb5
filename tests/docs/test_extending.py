"""Adding a thing takes what the page "extending" shows, and nothing else."""

import subprocess
import sys

import pytest

from docs.extending import ROOT, Project, sections
from imder.data.store import write_store
from imder.evaluation.results import read_csv
from imder.synthetic.known_truth import KnownTruth


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the package with everything that the page adds, and a corpus to use it on."""
    project = Project(tmp_path_factory.mktemp("extending"))
    truth = KnownTruth.standard(lengths={"language": (2, 4), "vision": (2, 3), "audio": (2, 3)})
    write_store(truth.corpus(200, 60, 60, seed=0), project.work / "corpus")
    return project


@pytest.mark.parametrize("section", [name for name, blocks in sections().items() if blocks])
def test_a_section_does_what_it_says(project, section):
    project.run(section)


def test_the_system_learns(project):
    if not (project.work / "average.csv").exists():
        project.run("A system")
    rows = read_csv(project.work / "average.csv")
    mae = {model: next(r["mae"] for r in rows if r["model"] == model) for model in ("average", "constant")}
    assert mae["average"] < mae["constant"]
    assert len((project.work / "predictions.csv").read_text().splitlines()) == 61


def test_the_added_files_pass_the_linter(project):
    added = [
        b.title.removeprefix("src/") for blocks in sections().values() for b in blocks if b.title.startswith("src/")
    ]
    files = [str(project.source / name) for name in added if name.endswith(".py")]
    command = [sys.executable, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml"), *files]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
