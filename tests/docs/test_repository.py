"""The files around the package agree with one another: versions, workflows, issue forms."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FORMS = sorted(path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")


def read(path):
    return yaml.load((ROOT / path).read_text(), Loader=yaml.BaseLoader)  # BaseLoader: the key `on` stays a string


def test_ci_covers_every_python_that_the_package_names():
    named = [c.rsplit(" ", 1)[1] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    assert read(".github/workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"]["python"] == named
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_ci_runs_what_developers_run():
    steps = [step.get("run") for job in read(".github/workflows/ci.yml")["jobs"].values() for step in job["steps"]]
    steps += [step.get("run") for step in read(".github/workflows/weekly.yml")["jobs"]["slow"]["steps"]]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    called = [step.removeprefix("make ") for step in steps if step and step.startswith("make ")]
    assert {"test", "docs", "slow"} == set(called) <= set(targets)


def test_pre_commit_uses_the_tested_ruff():
    pinned = re.search(r"^ruff==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE).group(1)
    hooks = {hook["id"]: hook for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]}
    assert [hooks[name]["additional_dependencies"] for name in ("ruff", "ruff-format")] == [[f"ruff=={pinned}"]] * 2


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_complete(form):
    content = read(form)
    assert {"name", "description", "body"} <= content.keys()
    assert all(field["attributes"]["label"] for field in content["body"])


def test_a_bug_report_asks_for_imder_info():
    fields = read(".github/ISSUE_TEMPLATE/bug.yml")["body"]
    asked = next(field for field in fields if "imder info" in field["attributes"]["label"])
    assert asked["validations"]["required"] == "true"


def test_the_changelog_has_the_version():
    assert re.search(rf"^## \[{re.escape(PROJECT['version'])}\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
