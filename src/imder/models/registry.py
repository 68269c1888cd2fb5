"""Systems by name, imported when asked for: the built-in ones, and those of other packages.

A package adds a system with an entry point of the group ``imder.systems``, whose name is the system's:

    [project.entry-points."imder.systems"]
    average = "my_package.average:Average"
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from imder.models.configuration import from_mapping
from imder.types import ImderError, Spec

if TYPE_CHECKING:
    from imder.models.base import Model

GROUP = "imder.systems"
"""The group of entry points."""

SYSTEMS: dict[str, str] = {
    "imder": "imder.models.imder.training:IMDer",
    "mmin": "imder.models.baselines.mmin:MMIN",
    "zero-fill": "imder.models.baselines.zero_fill:ZeroFill",
    "late-fusion": "imder.models.baselines.late_fusion:LateFusion",
    "regression": "imder.models.baselines.regression:Regression",
    "language-only": "imder.models.baselines.language_only:LanguageOnly",
    "mult": "imder.models.baselines.mult:MulT",
    "ridge": "imder.models.baselines.ridge:Ridge",
    "constant": "imder.models.baselines.constant:Constant",
    "imputer": "imder.models.imputer.imputer:Imputer",
    "gcnet": "imder.models.baselines.gcnet:GCNet",
    "lnln": "imder.models.baselines.lnln:LNLN",
    "emt-dlfr": "imder.models.baselines.emt_dlfr:EMTDLFR",
}
"""The built-in systems: name -> module:class."""


def system_names() -> list[str]:
    """All systems: the built-in ones, then those of other packages."""
    return list(dict.fromkeys([*SYSTEMS, *_external(tuple(sys.path))]))


def system_class(name: str) -> type[Model]:
    """The class of a system.

    Raises:
        ImderError: there is no such system, two packages have one of that name, or its package can't be imported.
    """
    external = _external(tuple(sys.path)).get(name, ())
    if name in SYSTEMS:
        if external:
            raise ImderError(
                f"{_package(external[0])} has a system {name!r}, which is built in; rename its entry point or uninstall it"
            )
        module, _, attribute = SYSTEMS[name].partition(":")
        built_in: type[Model] = getattr(import_module(module), attribute)
        return built_in
    if not external:
        raise ImderError(f"there is no system {name!r}; choose from {', '.join(system_names())}")
    if len(external) > 1:
        packages = " and ".join(_package(point) for point in external)
        raise ImderError(f"{packages} both have a system {name!r}; uninstall one of them")
    return _load(external[0])


def system_note(name: str) -> str:
    """The remark that tables print of a system; empty for names of anything else."""
    return system_class(name).note if name in system_names() else ""


def build(system: str, config: Any, spec: Spec) -> Model:
    """A new model; ``config`` is its dataclass or a plain mapping of it.

    Raises:
        ImderError: there is no such system, or the configuration doesn't fit it.
    """
    kind = system_class(system)
    return kind(spec, from_mapping(kind.config_type, config) if isinstance(config, Mapping) else config)


@cache
def _external(path: tuple[str, ...]) -> dict[str, tuple[EntryPoint, ...]]:
    """The entry points of installed packages, by name; ``path`` is where packages are found now."""
    del path
    points: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=GROUP):
        points[point.name] = (*points.get(point.name, ()), point)
    return points


def _package(point: EntryPoint) -> str:
    return f"package {point.dist.name}" if point.dist else point.value


def _load(point: EntryPoint) -> type[Model]:
    """The class that an entry point names, checked for what the registry relies on."""
    where = f"{_package(point)}: its system {point.name!r}"
    try:
        system: Any = point.load()
    except Exception as error:  # a foreign package: anything can happen
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImderError(f"{where} cannot be imported ({reason}); repair or uninstall it") from None
    if getattr(system, "system", None) != point.name or not hasattr(system, "config_type"):
        raise ImderError(
            f"{where} ({point.value}) is not a subclass of imder.Model with system = {point.name!r} and a config_type"
        )
    loaded: type[Model] = system
    return loaded
