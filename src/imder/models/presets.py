"""Presets: configurations by name.

A preset is a YAML file that names its system and overrides the defaults of its configuration and of training; unknown keys
are errors. A system that no file names is a preset of its own name, with all defaults.

``preset@corpus`` is a preset with the settings that `imder tune` found on a corpus: the corpus' file, in the folder
``tuned``, holds the differences for each preset.
"""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from importlib import resources
from typing import Any

import yaml

from imder.models.nested import merged
from imder.models.registry import system_names
from imder.types import ImderError


def preset_names() -> list[str]:
    """All presets, except the tuned variants."""
    files = _files()
    configured = {str(data["system"]) for data in files.values()}
    return sorted({*files, *(set(system_names()) - configured)})


def tuned_names(preset: str | None = None) -> list[str]:
    """The corpora for which a given preset (None: any) is tuned."""
    return sorted(corpus for corpus, presets in _files("tuned").items() if preset is None or preset in presets)


def read_preset(name: str) -> dict[str, Any]:
    """A preset's mapping: ``system``, ``model``, ``training``.

    Raises:
        ImderError: there is no such preset.
    """
    base, at, corpus = name.partition("@")
    if base not in preset_names():
        raise ImderError(f"there is no preset {base!r}; choose from {', '.join(preset_names())}")
    preset = deepcopy(_files().get(base, {"system": base, "model": {}, "training": {}}))
    if not at:
        return preset
    if corpus not in tuned_names(base):
        others = ", ".join(f"{base}@{c}" for c in tuned_names(base)) or f"use {base}, or imder tune {base} CORPUS"
        raise ImderError(f"preset {base!r} isn't tuned for {corpus!r}; {others}")
    return merged(preset, deepcopy(_files("tuned")[corpus][base] or {}))


@cache
def _files(folder: str = "") -> dict[str, dict[str, Any]]:
    presets = resources.files("imder.presets").joinpath(folder)
    return {p.name[:-5]: yaml.safe_load(p.read_text()) or {} for p in presets.iterdir() if p.name.endswith(".yaml")}
