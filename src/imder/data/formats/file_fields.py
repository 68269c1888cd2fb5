"""The fields of a file as they are, for writing samples alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FieldShape:
    """How a file holds the features of a modality.

    Attributes:
        field: the name of the field.
        frames: T of an array ``(N, T, D)``; 0 for a list of arrays, None for an array ``(N, D)``.
    """

    field: str
    frames: int | None


@dataclass(frozen=True)
class FileFields:
    """How a file holds the samples of a split.

    Attributes:
        shapes: of the features of each modality; empty where there is no file, or a store.
        fields: the fields by name, read or not, with a row for each sample where they have rows.
    """

    shapes: Mapping[str, FieldShape] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)

    def take(self, rows: NDArray[np.int64], count: int) -> FileFields:
        """The fields of some of the ``count`` samples, in this order."""
        return FileFields(self.shapes, {name: _rows(value, rows, count) for name, value in self.fields.items()})


def _rows(value: Any, rows: NDArray[np.int64], count: int) -> Any:
    if isinstance(value, np.ndarray) and value.ndim and len(value) == count:
        return value[rows]
    if isinstance(value, list | tuple) and len(value) == count:
        return [value[i] for i in rows]
    return value
