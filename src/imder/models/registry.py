"""Systems by name, and the presets that configure them.

A system is one file and one line here. A preset is a YAML file that names its system and overrides the defaults of its
configuration and of training; unknown keys are errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import resources
from typing import Any, cast, get_args, get_origin, get_type_hints

import yaml

from imder.models.base import Model
from imder.models.imder import IMDer, IMDerConfig
from imder.models.zero_fill import ZeroFill, ZeroFillConfig
from imder.types import ImderError, Spec

SYSTEMS: dict[str, tuple[type[Model], type[Any]]] = {
    IMDer.system: (IMDer, IMDerConfig),
    ZeroFill.system: (ZeroFill, ZeroFillConfig),
}


def preset_names() -> list[str]:
    """The presets that come with the package."""
    return sorted(p.name[:-5] for p in resources.files("imder.presets").iterdir() if p.name.endswith(".yaml"))


def read_preset(name: str) -> dict[str, Any]:
    """A preset's mapping: ``system``, ``model``, ``training``.

    Raises:
        ImderError: there is no such preset.
    """
    if name not in preset_names():
        raise ImderError(f"there is no preset {name!r}; choose from {', '.join(preset_names())}")
    data: dict[str, Any] = yaml.safe_load((resources.files("imder.presets") / f"{name}.yaml").read_text())
    return data


def system_entry(name: str) -> tuple[type[Model], type[Any]]:
    """A system's class and its configuration's.

    Raises:
        ImderError: there is no such system.
    """
    try:
        return SYSTEMS[name]
    except KeyError:
        raise ImderError(f"there is no system {name!r}; choose from {', '.join(SYSTEMS)}") from None


def build(system: str, config: Any, spec: Spec) -> Model:
    """A new model; ``config`` is its dataclass or a plain mapping of it."""
    kind, config_type = system_entry(system)
    return kind(spec, from_mapping(config_type, config) if isinstance(config, Mapping) else config)


def from_mapping(kind: type[Any], data: Mapping[str, Any], where: str = "model") -> Any:
    """A (nested) dataclass from plain containers.

    Raises:
        ImderError: a key that the dataclass does not have.
    """
    hints = get_type_hints(kind)
    known = {f.name for f in fields(kind)}
    if unknown := sorted(set(data) - known):
        raise ImderError(f"unknown key {where}.{unknown[0]}; {where} has {', '.join(sorted(known))}")
    values = {}
    for name, value in data.items():
        hint = hints[name]
        options = [a for a in get_args(hint) if is_dataclass(a)]
        if is_dataclass(hint) and isinstance(value, Mapping):
            value = from_mapping(cast(type[Any], hint), value, f"{where}.{name}")
        elif options and isinstance(value, Mapping):
            value = from_mapping(cast(type[Any], options[0]), value, f"{where}.{name}")
        elif get_origin(hint) is tuple and isinstance(value, list):
            value = tuple(value)
        values[name] = value
    return kind(**values)
