"""Configurations from plain containers, every key and value checked against the dataclass."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from math import isfinite
from numbers import Integral, Real
from typing import Any, TypeVar, cast, get_args, get_type_hints

from jsonargparse import ArgumentError, ArgumentParser

from imder.types import ImderError

_C = TypeVar("_C")


@dataclass(frozen=True)
class Number:
    """What a numeric setting may be: whole or real, and its bounds.

    >>> Number(least=0, below=1).check("ema", 0.5)
    >>> Number(whole=True, least=1).check("batch_size", 0.5)
    Traceback (most recent call last):
        ...
    imder.types.ImderError: batch_size: expected a whole number, at least 1, got 0.5
    """

    whole: bool = False
    least: float | None = None
    above: float | None = None
    below: float | None = None
    most: float | None = None

    def check(self, name: str, value: Any) -> None:
        """Raise `ImderError` unless ``value`` is such a number; infinity and NaN are none."""
        fits = isinstance(value, Integral if self.whole else Real) and not isinstance(value, bool) and isfinite(value)
        bounds: list[tuple[str, float | None, Callable[[Any, Any], bool]]] = [
            ("at least", self.least, operator.ge),
            ("above", self.above, operator.gt),
            ("below", self.below, operator.lt),
            ("at most", self.most, operator.le),
        ]
        given = [(words, bound, holds) for words, bound, holds in bounds if bound is not None]
        if fits and all(holds(value, bound) for _, bound, holds in given):
            return
        limits = " and ".join(
            f"{words} {bound if isinstance(bound, int) else format(bound, 'g')}" for words, bound, _ in given
        )
        kind = "a whole number" if self.whole else "a number"
        raise ImderError(f"{name}: expected {kind}{limits and f', {limits}'}, got {value!r}")


COUNT, POSITIVE_COUNT, AMOUNT = Number(whole=True, least=0), Number(whole=True, least=1), Number(least=0)
SEED = Number(whole=True, least=0, most=2**64 - 1)
DROPOUT = Number(least=0, below=1)


def check_numbers(config: Any, numbers: Mapping[str, Number], where: str) -> None:
    """Check fields of a configuration.

    Args:
        config: the dataclass.
        numbers: for each numeric field what it may be.
        where: the prefix of the fields in messages.

    Raises:
        ImderError: the first field that isn't such a number.
    """
    for name, number in numbers.items():
        number.check(f"{where}.{name}", getattr(config, name))


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
        raise ImderError(plain_message(str(error))) from None


_TYPES = {
    "<class 'int'>": "a whole number",
    "<class 'float'>": "a number",
    "<class 'bool'>": "true or false",
    "<class 'str'>": "a text",
    "<class 'tuple'>": "a list such as [32, 64]",
    "<class 'list'>": "a list such as [32, 64]",
    "<class 'NoneType'>": "null",
}


def plain_message(message: str, prefix: str = "") -> str:
    r"""The message of a jsonargparse error on one line, in plain words.

    Args:
        message: the text of the error.
        prefix: put before the key, such as ``--``.

    >>> plain_message("Parser key \"a.b\": Expected a <class 'float'>. Got value: big", "--")
    "--a.b: 'big' is not a number"
    >>> plain_message("Parser key \"kind\": Expected a typing.Literal['mean', 'zero']. Got value: men")
    "kind: 'men' is not known; choose from mean, zero"
    >>> kinds = "[<class 'float'>, typing.Literal['auto']]"
    >>> plain_message(f'Parser key "share": Does not validate against any of Subtypes: {kinds} Errors: Given value: much')
    "share: 'much' is not a number or 'auto'"
    """
    text = " ".join(message.split())
    if match := re.match(r'Parser key "(.*?)": Expected an? (.*?)\. Got value:\s?(.*)', text):
        key, kind, value = match.groups()
        if literal := re.match(r"typing\.Literal\[(.*)\]", kind):
            return f"{prefix}{key}: {value!r} is not known; choose from {literal[1].replace(chr(39), '')}"
        return f"{prefix}{key}: {value!r} is not {_TYPES.get(kind, kind)}"
    if match := re.match(
        r'Parser key "(.*?)": Does not validate .* Subtypes: \[(.*?)\] Errors:.*Given value:\s?(.*)', text
    ):
        key, kinds, value = match.groups()
        choices = " or ".join(_plain_type(kind) for kind in re.split(r", (?=[<t])", kinds))
        return f"{prefix}{key}: {value!r} is not {choices}"
    return re.sub(r'^Parser key "(.*?)":', rf"{prefix}\1:", text)


def _plain_type(kind: str) -> str:
    """A type in plain words; of a literal its values."""
    literal = re.match(r"typing\.Literal\[(.*)\]", kind)
    return literal[1].replace(", ", " or ") if literal else _TYPES.get(kind, kind)


def _check_keys(config_type: type[Any], data: Mapping[str, Any], where: str) -> None:
    """Raise for a key that the dataclass does not have, even one whose value is an empty mapping."""
    hints = get_type_hints(config_type)
    for key, value in data.items():
        if key not in hints:
            raise ImderError(f"unknown key {where}.{key}; {where} has {', '.join(sorted(hints))}")
        if value is None and type(None) not in get_args(hints[key]):
            raise ImderError(f"{where}.{key}: null is no value; leave the key out for its default")
        if is_dataclass(hints[key]):
            if not isinstance(value, Mapping):
                raise ImderError(f"{where}.{key} is a mapping of settings, got {value!r}")
            _check_keys(cast(type[Any], hints[key]), value, f"{where}.{key}")
