"""Adding a thing takes what the page "extending" shows, and nothing else."""

import subprocess
import sys

import pytest

from docs.extending import ROOT, Project, sections
from imder.data.store import write_store
from imder.evaluation.results import read_csv
from imder.synthetic.known_truth import KnownTruth
from tiny_media import openface_columns, openface_rows, tone, write_manifest, write_openface, write_wav


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the package with everything that the page adds, and a corpus to use it on."""
    project = Project(tmp_path_factory.mktemp("extending"))
    truth = KnownTruth.standard(lengths={"language": (2, 4), "vision": (2, 3), "audio": (2, 3)})
    write_store(truth.corpus(200, 60, 60, seed=0), project.work / "corpus")
    write_clips(project.work)
    return project


def write_clips(folder):
    """Three clips of half a second with tables of OpenFace, and their manifest."""
    rows = [("id", "audio", "openface", "label")]
    columns = openface_columns("pose+aus")
    for i in range(3):
        write_wav(folder / f"{i}.wav", tone(0.5, seed=i))
        write_openface(folder / f"{i}.csv", openface_rows(4, columns, seed=i), columns)
        rows.append((f"c{i}", f"{i}.wav", f"{i}.csv", i))
    write_manifest(folder / "manifest.csv", rows)


@pytest.mark.parametrize("section", [name for name, blocks in sections().items() if blocks])
def test_a_section_does_what_it_says(project, section):
    if "extractor" in section:
        for package in ("soundfile", "soxr", "av"):
            pytest.importorskip(package)
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
