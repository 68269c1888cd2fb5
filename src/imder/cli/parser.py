"""The parser of one command's options: no abbreviations, and every mistake one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from math import inf, nan
from typing import Any, NoReturn

from jsonargparse import ArgumentError, ArgumentParser, DefaultHelpFormatter, Namespace

from imder.cli.mistakes import explain
from imder.types import ImderError


class Parser(ArgumentParser):
    """The options of one command.

    Attributes:
        words: what was typed after the command, for a command whose options depend on it (`imder.cli.train`).
    """

    def __init__(self, prog: str, description: str, words: Sequence[str] = ()) -> None:
        self.words = list(words)
        self._overrides: list[str] = []
        super().__init__(
            prog=prog, description=description, formatter_class=Help, exit_on_error=False, allow_abbrev=False
        )

    def add_overrides(self, name: str, kind: type[Any]) -> None:
        """Options ``--name.key`` for every key of a dataclass, of which only those that were given count."""
        self.add_settings(name, kind)
        self._overrides.append(name)

    def add_settings(self, name: str, kind: type[Any], default: Any = argparse.SUPPRESS) -> None:
        """Options ``--name.key`` for every key of a dataclass; ``--help`` leaves out the files that could set groups."""
        self.add_argument(f"--{name}", type=kind, **({} if default is argparse.SUPPRESS else {"default": default}))
        for action in self._actions:
            if type(action).__name__ == "_ActionConfigLoad":
                action.help = argparse.SUPPRESS

    def parse(self) -> Namespace:
        """The options in `words`.

        Raises:
            ImderError: an unknown option, a value that doesn't fit, or a missing argument.
        """
        try:
            options = self.parse_args(self.words)
            if self._overrides:
                given = self.parse_args(self.words, defaults=False)
                for name in self._overrides:
                    options[name] = given.get(name)
        except ArgumentError as error:
            raise ImderError(explain(str(error), self.prog, self._names())) from None
        return options

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise `ImderError` in place of jsonargparse's lines of usage."""
        raise ImderError(explain(message, self.prog, self._names())) from ex

    def _names(self) -> list[str]:
        return [name for name in self._option_string_actions if name.startswith("--")]


class Help(DefaultHelpFormatter):
    """Prints each default once, and the type only of keys without a description."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = (action.help or "").replace("``", "")
        if not text or isinstance(action, argparse._HelpAction):
            return str(super()._get_help_string(action))
        if "default" in text or any(action.default is none for none in (None, False, argparse.SUPPRESS)):
            return text
        return f"{text} (default: %(default)s)"


def whole(least: int = 0) -> Callable[[Any], int]:
    """The type of an option that takes whole numbers from ``least`` on."""

    def integer(value: Any) -> int:
        try:
            number = int(str(value))
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"expected a whole number, at least {least}, got {str(value)!r}")
        return number

    return integer


def number(*, above: float | None = None, least: float | None = None, most: float = inf) -> Callable[[Any], float]:
    """The type of an option that takes numbers above ``above`` or from ``least`` on, up to ``most``."""
    expected = (
        f"a number above {above:g}"
        if above is not None
        else f"a number from {least:g}"
        if least is not None
        else "a number"
    )
    if most < inf:
        expected += f" to {most:g}"

    def real(value: Any) -> float:
        try:
            found = float(str(value))
        except ValueError:
            found = nan
        if (above is not None and not found > above) or (least is not None and not found >= least) or not found <= most:
            raise argparse.ArgumentTypeError(f"expected {expected}, got {str(value)!r}")
        return found

    return real


def listed(value: Any) -> tuple[str, ...]:
    """The type of an option that takes words separated by commas.

    >>> listed("random, fixed")
    ('random', 'fixed')
    """
    parts = value if isinstance(value, tuple) else str(value).split(",")  # the parser checks its result once more
    words = tuple(word.strip() for word in parts if word.strip())
    if not words:
        raise argparse.ArgumentTypeError("expected at least one name, several separated by commas")
    return words


def counts(value: Any) -> tuple[int, ...]:
    """The type of an option that takes whole numbers from 1 on, separated by commas.

    >>> counts("1, 16")
    (1, 16)
    """
    return tuple(whole(1)(word) for word in (value if isinstance(value, tuple) else str(value).split(",")))


def numbers(value: Any) -> tuple[float, ...]:
    """The type of an option that takes numbers separated by commas.

    >>> numbers("0, .3,.5")
    (0.0, 0.3, 0.5)
    """
    return tuple(_real(word) for word in (value if isinstance(value, tuple) else str(value).split(",")))


def rates(value: Any) -> tuple[float, ...] | dict[str, float]:
    """The type of an option that takes missing rates, or one rate for each modality.

    >>> rates("0,.3"), rates("language=.1, audio=.3")
    ((0.0, 0.3), {'language': 0.1, 'audio': 0.3})
    """
    if isinstance(value, dict) or "=" not in str(value):
        return value if isinstance(value, dict) else numbers(value)
    pairs = [word.partition("=")[::2] for word in str(value).split(",")]
    named = {name.strip(): _real(rate) for name, rate in pairs}
    if len(named) < len(pairs) or "" in named:
        raise argparse.ArgumentTypeError(f"{value!r}: give each modality one rate, such as language=.1,audio=.3")
    return named


def _real(word: Any) -> float:
    try:
        return float(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} isn't a number; give numbers separated by commas") from None
