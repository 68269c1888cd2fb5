"""Configurations from plain containers, every key and value checked against the dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, TypeVar, cast, get_type_hints

from jsonargparse import ArgumentError, ArgumentParser

from imder.types import ImderError

_C = TypeVar("_C")


def from_mapping(config_type: type[_C], data: Mapping[str, Any], where: str = "model") -> _C:
    """A (nested) dataclass from plain containers.

    Args:
        config_type: the dataclass.
        data: its fields; those left out keep their defaults.
        where: the prefix of the keys in messages.

    Raises:
        ImderError: a key that the dataclass does not have, or a value that doesn't fit.

    >>> from imder.models.parts.encoder import EncoderConfig
    >>> from_mapping(EncoderConfig, {"width": 16}).width
    16
    """
    _check_keys(config_type, data, where)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument(f"--{where}", type=config_type)
    try:
        return cast(_C, parser.instantiate(parser.parse_object({where: dict(data)}))[where])
    except (ArgumentError, TypeError) as error:
        raise ImderError(" ".join(str(error).split())) from None


def _check_keys(config_type: type[Any], data: Mapping[str, Any], where: str) -> None:
    """Raise for a key that the dataclass does not have, even one whose value is an empty mapping."""
    hints = get_type_hints(config_type)
    for key, value in data.items():
        if key not in hints:
            raise ImderError(f"unknown key {where}.{key}; {where} has {', '.join(sorted(hints))}")
        if is_dataclass(hints[key]):
            if not isinstance(value, Mapping):
                raise ImderError(f"{where}.{key} is a mapping of settings, got {value!r}")
            _check_keys(cast(type[Any], hints[key]), value, f"{where}.{key}")
