"""What runs recorded of their making: versions, hardware, command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from imder.training.run import RunDirectory
from imder.types import ImderError, Spec

PACKAGES = ("imder", "python", "torch", "lightning", "numpy")


def recorded_facts(runs: Sequence[RunDirectory]) -> list[tuple[str, str]]:
    """Versions, hardware and command of the first run that recorded them, as names and values."""
    for run in runs:
        if (run.path / "environment.json").exists():
            return _facts(run)
    return [("versions", "not recorded")]


def _facts(run: RunDirectory) -> list[tuple[str, str]]:
    content: Any = run.read_json("environment.json")
    if not isinstance(content, dict):
        raise ImderError(f"{run.path / 'environment.json'}: expected a mapping")
    versions = ", ".join(f"{name} {content[name]}" for name in PACKAGES if name in content)
    facts = [("versions", versions), ("platform", str(content.get("platform", "not recorded")))]
    hardware = content.get("hardware")
    if isinstance(hardware, dict):
        parts = [f"{hardware.get('cpus')} x {hardware.get('cpu')}", f"{hardware.get('memory_gib')} GiB"]
        facts.append(("hardware", ", ".join([*parts, str(hardware.get("accelerator") or "no accelerator")])))
    if content.get("git_commit"):
        facts.append(("commit", str(content["git_commit"])))
    return [*facts, ("command", without_folders(str(content.get("command", "not recorded"))))]


def spec_facts(spec: Spec) -> Sequence[tuple[str, str]]:
    """Task and modalities of a corpus."""
    task = spec.task + (f": {', '.join(spec.classes)}" if spec.classes else "")
    modalities = ", ".join(
        f"{m.name} ({m.dim} features, at most {m.length} frame{'s' * (m.length != 1)})" for m in spec.modalities
    )
    return [("task", task), ("modalities", modalities)]


def without_folders(command: str) -> str:
    """A command with paths cut to their last part: a report is passed on, and folders say nothing about a result.

    >>> without_folders("/home/me/env/bin/imder train /data/mosi.pkl --out runs/a")
    'imder train mosi.pkl --out a'
    >>> without_folders("imder benchmark mosi --models imder,/home/me/my.yaml --rates 0,0.5")
    'imder benchmark mosi --models imder,my.yaml --rates 0,0.5'
    >>> without_folders("/home/me/imder/__main__.py train a/mosi.pkl")
    'python -m imder train mosi.pkl'
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    if words and PurePath(words[0]).name == "__main__.py":
        words[:1] = ["python", "-m", "imder"]
    return shlex.join(",".join(PurePath(part).name or part for part in word.split(",")) for word in words)


def seconds_text(seconds: float) -> str:
    """A duration.

    >>> seconds_text(42.3), seconds_text(225), seconds_text(7300)
    ('42 s', '3.8 min', '2.0 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
