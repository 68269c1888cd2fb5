"""Arrays of strings whose bytes come from a file."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray


def check_characters(array: NDArray[Any]) -> None:
    """Raise `ValueError` where an array of strings holds a number that is no character, on which numpy fails at every use.

    >>> check_characters(np.array(["a", "bc"]))
    >>> check_characters(np.array([2**31], "<u4").view("<U1"))
    Traceback (most recent call last):
    ValueError: an array of strings with a character numbered 2147483648
    """
    if array.dtype.kind != "U" or not array.size or not array.dtype.itemsize:
        return
    native = array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
    largest = int(np.atleast_1d(native).view(np.uint32).max())
    if largest > sys.maxunicode:
        raise ValueError(f"an array of strings with a character numbered {largest}")
