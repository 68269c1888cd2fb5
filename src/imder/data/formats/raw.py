"""The fields of one split as a feature file holds them, and the errors that name them.

A field is one key of the file: an array or a list with one row for each sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.types import ImderError

NAMES_ADVICE = "; class names go to label_names or annotations, beside the numbers in classification_labels"


@dataclass(frozen=True)
class Raw:
    """The fields of one split.

    Attributes:
        where: the file and split, for messages.
        split: name of the split.
        fields: by name.
        keys: the caller's names of fields, for messages, where they differ.
        token_ids: the fields that hold ids of tokens in place of features (`imder.data.formats.token_fields`).
    """

    where: str
    split: str
    fields: Mapping[str, Any]
    keys: Mapping[str, str] = field(default_factory=dict)
    token_ids: frozenset[str] = frozenset()

    def fault(self, field: str, what: str, sample: str | None = None) -> ImderError:
        """The one-line error about a field, and about one of its samples if given."""
        name = self.keys.get(field, field)
        return ImderError(f"{self.where}: {name}: {'' if sample is None else f'sample {sample!r}: '}{what}")

    def column(self, field: str, n: int) -> Any:
        """The n rows of a field; None where the file lacks it.

        Raises:
            ImderError: there are not n rows.
        """
        value: Any = self.fields.get(field)
        if value is None:
            return None
        whole = isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0)
        rows = len(value) if whole else -1
        if rows != n:
            raise self.fault(field, f"{'no' if rows < 0 else rows} rows where the features have {n}")
        return value

    def numbers(self, field: str, ids: Sequence[str]) -> NDArray[np.float64] | None:
        """A field of one number for each sample, ``(N,)``.

        Raises:
            ImderError: a row is something else.
        """
        value = self.column(field, len(ids))
        if value is None:
            return None
        try:
            array = np.asarray(value, np.float64)
        except (TypeError, ValueError, OverflowError):
            for x, name in zip(value, ids):
                try:
                    np.asarray(x, np.float64)
                except (TypeError, ValueError, OverflowError):
                    advice = NAMES_ADVICE if isinstance(x, str | bytes) and field.endswith("_labels") else ""
                    raise self.fault(field, f"{_short(x)} is not a number{advice}", name) from None
            array = np.empty((0, 0))
        if array.size != len(ids):
            raise self.fault(field, f"one number for each sample is needed, found the shape {array.shape}")
        return array.reshape(-1)

    def strings(self, field: str, n: int) -> tuple[str, ...] | None:
        """A field of one name for each sample; bytes and numbers become strings, None and NaN the empty one.

        Raises:
            ImderError: a row holds several.
        """
        value = self.column(field, n)
        if value is None:
            return None
        strings = []
        for i, x in enumerate(value):
            if isinstance(x, (np.ndarray, list, tuple)):
                if len(items := _flat(x)) != 1:
                    raise self.fault(field, f"row {i} holds {len(items)} values where one is needed")
                x = items[0]
            missing = x is None or (isinstance(x, float | np.floating) and np.isnan(x))
            strings.append("" if missing else self.text(field, i, x))
        return tuple(strings)

    def text(self, field: str, row: int, value: Any) -> str:
        """A value of a field as a string.

        Raises:
            ImderError: bytes that aren't UTF-8, or a lone surrogate.
        """
        try:
            text = value.decode() if isinstance(value, bytes) else str(value)
            if is_unicode(text):
                return text
        except UnicodeDecodeError:
            pass
        raise self.fault(field, f"row {row}: {_short(value)} is no valid Unicode; decode it as it was encoded")


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8: lone surrogates can't."""
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)


def _flat(x: Any) -> list[Any]:
    """The items in nested lists or arrays."""
    return [y for part in x for y in _flat(part)] if isinstance(x, (list, tuple)) or np.ndim(x) else [x]


def _short(x: object) -> str:
    text = repr(x.item() if isinstance(x, np.generic) else x)
    return text if len(text) <= 40 else text[:37] + "..."
