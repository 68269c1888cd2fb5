"""Values handed over in memory: arrays, tensors, columns of data frames, and lists."""

from __future__ import annotations

from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """A tensor as an array, on the CPU; None for a missing value of pandas; anything else as it is."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        tensor = value.detach().cpu()
        return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    return value.to_numpy() if hasattr(value, "to_numpy") else value


def has_rows(value: Any) -> bool:
    """Whether a value is a list, a tuple or an array with rows."""
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def holds_strings(value: Any) -> bool:
    """Whether some of the rows are strings."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "US" or (value.dtype == object and holds_strings(value.tolist()))
    return isinstance(value, list | tuple) and any(isinstance(x, str | bytes) for x in value)
