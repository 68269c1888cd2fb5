"""Systems by name: each is one file and one line here. Configurations come from plain containers, every key checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, cast, get_type_hints

from jsonargparse import ArgumentError, ArgumentParser

from imder.models.base import Model
from imder.models.baselines.constant import Constant, ConstantConfig
from imder.models.baselines.gcnet import GCNet, GCNetConfig
from imder.models.baselines.language_only import LanguageOnly, LanguageOnlyConfig
from imder.models.baselines.late_fusion import LateFusion, LateFusionConfig
from imder.models.baselines.mmin import MMIN, MMINConfig
from imder.models.baselines.mult import MulT, MulTConfig
from imder.models.baselines.regression import Regression, RegressionConfig
from imder.models.baselines.ridge import Ridge, RidgeConfig
from imder.models.baselines.zero_fill import ZeroFill, ZeroFillConfig
from imder.models.imder.training import IMDer, IMDerConfig
from imder.types import ImderError, Spec

SYSTEMS: dict[str, tuple[type[Model], type[Any]]] = {
    IMDer.system: (IMDer, IMDerConfig),
    MMIN.system: (MMIN, MMINConfig),
    ZeroFill.system: (ZeroFill, ZeroFillConfig),
    LateFusion.system: (LateFusion, LateFusionConfig),
    Regression.system: (Regression, RegressionConfig),
    LanguageOnly.system: (LanguageOnly, LanguageOnlyConfig),
    MulT.system: (MulT, MulTConfig),
    Ridge.system: (Ridge, RidgeConfig),
    Constant.system: (Constant, ConstantConfig),
    GCNet.system: (GCNet, GCNetConfig),
}


def system_entry(name: str) -> tuple[type[Model], type[Any]]:
    """A system's class and its configuration's.

    Raises:
        ImderError: there is no such system.
    """
    try:
        return SYSTEMS[name]
    except KeyError:
        raise ImderError(f"there is no system {name!r}; choose from {', '.join(SYSTEMS)}") from None


def system_note(name: str) -> str:
    """What a table says of a system; nothing of names that are no system's."""
    return SYSTEMS[name][0].note if name in SYSTEMS else ""


def build(system: str, config: Any, spec: Spec) -> Model:
    """A new model; ``config`` is its dataclass or a plain mapping of it."""
    kind, config_type = system_entry(system)
    return kind(spec, from_mapping(config_type, config) if isinstance(config, Mapping) else config)


def from_mapping(kind: type[Any], data: Mapping[str, Any], where: str = "model") -> Any:
    """A (nested) dataclass from plain containers, every key and value checked against its annotations.

    Raises:
        ImderError: a key that the dataclass does not have, or a value that doesn't fit.
    """
    _check_keys(kind, data, where)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument(f"--{where}", type=kind)
    try:
        return parser.instantiate(parser.parse_object({where: dict(data)}))[where]
    except (ArgumentError, TypeError) as error:
        raise ImderError(" ".join(str(error).split())) from None


def _check_keys(kind: type[Any], data: Mapping[str, Any], where: str) -> None:
    """Raise for a key that a (nested) dataclass does not have, even one that holds nothing."""
    hints = get_type_hints(kind)
    for key, value in data.items():
        if key not in hints:
            raise ImderError(f"unknown key {where}.{key}; {where} has {', '.join(sorted(hints))}")
        if is_dataclass(hints[key]):
            if not isinstance(value, Mapping):
                raise ImderError(f"{where}.{key} is a mapping of settings, got {value!r}")
            _check_keys(cast(type[Any], hints[key]), value, f"{where}.{key}")
