"""The environment of a run: versions, command, commit, hardware. It goes to ``environment.json`` and into bug reports."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("imder", "torch", "lightning", "numpy", "safetensors", "transformers")


def environment() -> dict[str, Any]:
    """Everything about the machine and the call that may explain a number."""
    return {**versions(), "command": shlex.join(sys.argv), "git_commit": git_commit(), "hardware": hardware()}


def versions() -> dict[str, str]:
    """Versions of Python, the platform and the packages that numbers depend on."""
    installed = {"python": platform.python_version(), "platform": platform.platform()}
    for name in PACKAGES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            installed[name] = "not installed"
    return installed


def git_commit(folder: str | Path = ".") -> str | None:
    """The commit of the repository that holds ``folder``; None without a repository or without git."""
    with suppress(OSError, subprocess.SubprocessError):
        command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    return None


def hardware() -> dict[str, Any]:
    """Processor, logical processors, memory in GiB, and accelerators; None for what cannot be found out."""
    return {"cpu": _processor(), "cpus": os.cpu_count(), "memory_gib": _memory(), "accelerator": _accelerator()}


def _processor() -> str | None:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or None


def _memory() -> float | None:
    with suppress(AttributeError, OSError, ValueError):  # not on Windows
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    return None


def _accelerator() -> str | None:
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return "mps" if torch.backends.mps.is_available() else None
