"""JSON and YAML files of others, read with every value checked before use.

`read_json` and `read_yaml` accept only text in UTF-8 of bounded size, depth and expansion. `Entry` gives the values of a
JSON document by key; a value of another type or outside its bounds is an error of one line that names the file and key.

>>> import tempfile
>>> file = Path(tempfile.mkdtemp()) / "a.json"
>>> _ = file.write_text('{"modalities": [{"dim": -3}]}')
>>> Entry(read_json(file), "a.json")["modalities"].items()[0]["dim"].whole(1)
Traceback (most recent call last):
    ...
imder.types.ImderError: a.json: modalities[0].dim: expected a whole number, at least 1, got -3
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from imder.jobs.expansion import Allowance, Measure
from imder.types import ImderError

LARGEST = 1 << 31
LARGEST_YAML = 1 << 18
_YAML_FLOOR = 1 << 24
_LONGEST = 60


def read_json(path: str | Path, *, finite: bool = True, advice: str = "") -> Any:
    """The content of a JSON file.

    Args:
        path: the file.
        finite: refuse NaN and infinities, which JSON doesn't have.
        advice: appended to messages, such as ``"; remove it to make it again"``.

    Raises:
        ImderError: it is missing, not UTF-8, not JSON, too deep, or holds text or numbers that are none.
    """
    text = _text(path, advice)
    try:
        content = json.loads(text, parse_constant=_refuse_constant if finite else None)
        Measure(lambda size: None)(content)
        if "\\u" in text:
            json.dumps(content, ensure_ascii=False).encode()  # half a surrogate pair can be read, but never written
        if finite and ("e" in text or "E" in text or len(text) > 300):
            _check_finite(content)
    except UnicodeEncodeError:
        raise ImderError(f"{path}: damaged (a text holds half a surrogate pair){advice}") from None
    except (ValueError, RecursionError) as error:
        raise ImderError(f"{path}: damaged or truncated ({shorten(error)}){advice}") from None
    return content


def read_yaml(path: str | Path) -> Any:
    """The content of a YAML file, without tags of its own and merge keys; None where it is empty.

    Raises:
        ImderError: it is missing, not UTF-8, not YAML, too large or deep, or its aliases expand to too much.
    """
    text = _text(path, limit=LARGEST_YAML)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        Measure(Allowance(path, floor=_YAML_FLOOR).check, _node_parts)(node)
        return loader.construct_document(node)
    except ImderError:
        raise
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, AttributeError, LookupError) as error:
        raise ImderError(f"{path}: not YAML ({shorten(error)})") from None


def shorten(error: object) -> str:
    """What an exception says, in one line of bounded length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 3 * _LONGEST else f"{text[: 3 * _LONGEST]}..."


def _text(path: str | Path, advice: str = "", limit: int = LARGEST) -> str:
    try:
        file = Path(path)
        if file.stat().st_size > limit:
            raise ImderError(f"{path}: larger than {limit >> 10} KiB, which no such file is{advice}")
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ImderError(f"{path}: cannot be read ({error.strerror or error}){advice}") from None
    except UnicodeDecodeError as error:
        raise ImderError(f"{path}: not UTF-8 (byte {error.start}){advice}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _check_finite(content: Any) -> None:
    """Raise where a number such as 1e999 became infinite; depth is bounded already."""
    if isinstance(content, dict | list):
        for x in content.values() if isinstance(content, dict) else content:
            _check_finite(x)
    elif isinstance(content, float) and not math.isfinite(content):
        raise ValueError("a number is infinite")


def _node_parts(item: Any) -> tuple[int, Any] | None:
    """The size and items of a YAML node for `Measure`."""
    if isinstance(item, yaml.ScalarNode):
        if item.tag == "tag:yaml.org,2002:merge":
            raise ValueError("merge keys (<<) are not supported")
        return len(item.value), ()
    if isinstance(item, yaml.SequenceNode | yaml.MappingNode):
        return 0, item.value
    return None


@dataclass(frozen=True)
class Entry:
    """A value of a document, and where it is.

    Attributes:
        value: the value.
        file: the file, for messages.
        key: keys from the top of the document on.
    """

    value: Any
    file: str
    key: str = ""

    def fault(self, what: str) -> ImderError:
        """The error about this value."""
        return ImderError(f"{self.file}: {self.key}{': ' if self.key else ''}{what}")

    def _expected(self, what: str) -> ImderError:
        shown = repr(self.value)
        return self.fault(f"expected {what}, got {shown if len(shown) <= _LONGEST else shown[:_LONGEST] + '...'}")

    def mapping(self) -> dict[str, Entry]:
        """The entries of an object."""
        if not isinstance(self.value, dict) or not all(isinstance(key, str) for key in self.value):
            raise self._expected("an object of named values")
        dot = "." if self.key else ""
        return {key: Entry(x, self.file, f"{self.key}{dot}{key[:_LONGEST]}") for key, x in self.value.items()}

    def mapping_of_values(self) -> dict[str, Any]:
        """The values of an object, unchecked."""
        return {key: entry.value for key, entry in self.mapping().items()}

    def __getitem__(self, key: str) -> Entry:
        """The entry of a key that must be there."""
        entries = self.mapping()
        if key not in entries:
            raise self.fault(f"{key!r} is missing")
        return entries[key]

    def get(self, key: str) -> Entry | None:
        """The entry of a key; None where it is missing or null."""
        entry = self.mapping().get(key)
        return None if entry is None or entry.value is None else entry

    def items(self) -> list[Entry]:
        """The entries of a list."""
        if not isinstance(self.value, list):
            raise self._expected("a list")
        return [Entry(x, self.file, f"{self.key}[{i}]") for i, x in enumerate(self.value)]

    def text(self) -> str:
        """A text."""
        if not isinstance(self.value, str):
            raise self._expected("a text")
        return self.value

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self._expected("true or false")
        return self.value

    def whole(self, least: int = 0, most: int = LARGEST) -> int:
        """A whole number within bounds."""
        if type(self.value) is not int or self.value < least:
            raise self._expected(f"a whole number, at least {least}")
        if self.value > most:
            raise self._expected(f"a whole number, at most {most}")
        return self.value

    def real(self, least: float = -math.inf, *, finite: bool = True) -> float:
        """A number from ``least`` on."""
        value = self.value
        if type(value) not in (int, float) or (finite and not abs(value) < 2**1023) or value < least:
            raise self._expected("a number" + (f", at least {least:g}" if least > -math.inf else ""))
        return float(value)

    def reals(self, least: float = -math.inf) -> tuple[float, ...]:
        """A list of numbers."""
        if not isinstance(self.value, list):
            raise self._expected("a list of numbers")
        return tuple(Entry(x, self.file, f"{self.key}[{i}]").real(least) for i, x in enumerate(self.value))
