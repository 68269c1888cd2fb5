"""Every value of a run's files, replaced by values of other types and sizes: each command succeeds or says so in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from command_line import imder_

WRONG = (None, "x", -1, 0, 10**30, 1e308, [], {}, True, [[1]], "\u00e9" * 3)
WRONG_JSON = ("NaN", "-Infinity", "1e999", '"\\ud800"')
COMMANDS = {
    "config.json": ("predict",),
    "calibration.json": ("predict",),
    "trained_on.json": ("predict", "evaluate", "info", "resume"),
    "metrics.json": ("info",),
}


def keys(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values, of lists the first only."""
    if path:
        yield path
    items = (
        content.items() if isinstance(content, dict) else enumerate(content[:1]) if isinstance(content, list) else ()
    )
    for key, value in items:
        yield from keys(value, (*path, key))


def replaced(text: str, path: tuple[Any, ...], value: str) -> str:
    """The document with JSON text in place of a value; without the value where the text is empty."""
    content = json.loads(text)
    parent = content
    for key in path[:-1]:
        parent = parent[key]
    if not value:
        del parent[path[-1]]
        return json.dumps(content)
    parent[path[-1]] = "<here>"
    return json.dumps(content).replace('"<here>"', value)


def call(command: str, run: Path, corpus: Path, out: Path) -> int:
    if command == "predict":
        return imder_("predict", run, corpus, "--out", out / "p.csv", "--samples", 1, "--force")
    if command == "evaluate":
        return imder_("evaluate", run, corpus, "--draws", 1, "--rates", "0.3", "--samples", 1)
    if command == "resume":
        return imder_("train", corpus, "--resume", run)
    return imder_("info", run)


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some", "every"])
@pytest.mark.parametrize("name", COMMANDS)
def test_wrong_values_are_one_line(
    name: str, every: bool, run: Path, folder: Path, tmp_path: Path, capsys: Any
) -> None:
    """``every``: two values and every command for each key, instead of one value and one command in turn."""
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    text = (copy / name).read_text()
    refused = 0
    for number, path in enumerate(keys(json.loads(text))):
        wrong = ["", *map(json.dumps, WRONG), *WRONG_JSON]
        chosen = [wrong[(number + k) % len(wrong)] for k in ((0, 7) if every else (number // len(wrong),))]
        commands = COMMANDS[name] if every else (COMMANDS[name][number % len(COMMANDS[name])],)
        for value in chosen:
            (copy / name).write_text(replaced(text, path, value))
            for command in commands:
                code = call(command, copy, folder / "corpus", tmp_path)
                error = capsys.readouterr().err
                lines = [line for line in error.splitlines() if line.startswith("imder: error")]
                assert code in (0, 2), (path, value, command, error)
                if code == 2:
                    assert len(lines) == 1, (path, value, command, error)
                    assert "Traceback" not in error
                    refused += 1
    assert refused


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 10_000, b"[]", b"3", b"null", b'{"spec": 3}'])
def test_files_that_are_something_else_are_named(
    content: bytes, run: Path, folder: Path, tmp_path: Path, capsys: Any
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    for name, commands in COMMANDS.items():
        before = (copy / name).read_bytes()
        (copy / name).write_bytes(content)
        for command in commands:
            assert call(command, copy, folder / "corpus", tmp_path) == 2, (name, command)
            error = capsys.readouterr().err
            assert error.count("\n") == 1
            assert str(copy / name) in error
        (copy / name).write_bytes(before)


def test_a_model_larger_than_its_weights_is_not_built(run: Path, folder: Path, tmp_path: Path, capsys: Any) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "calibration.json").unlink()
    description = json.loads((copy / "config.json").read_text())
    description["spec"]["modalities"][0]["dim"] = 1 << 24
    (copy / "config.json").write_text(json.dumps(description))
    assert call("predict", copy, folder / "corpus", tmp_path) == 2
    assert "larger than model.safetensors" in capsys.readouterr().err


NUMBERS = ["x", -1, 10**30, float("inf"), float("nan"), [1], {"a": 1}, None]


@pytest.mark.parametrize("offset", range(len(NUMBERS)))
def test_wrong_configurations_are_one_line(offset: int, run: Path, tmp_path: Path, capsys: Any) -> None:
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / "config.yaml"
    text = path.read_text()
    for number, key in enumerate(keys(yaml.safe_load(text))):
        if (number + offset) % 4:
            continue
        content = parent = yaml.safe_load(text)
        for step in key[:-1]:
            parent = parent[step]
        parent[key[-1]] = NUMBERS[(number + offset) // 4 % len(NUMBERS)]
        path.write_text(yaml.safe_dump(content))
        code = imder_("info", tmp_path / "run")
        error = capsys.readouterr().err
        assert code in (0, 2), (key, error)
        assert "Traceback" not in error
