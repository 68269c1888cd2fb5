"""The check that every prediction that leaves the library is a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.types import ImderError


def check_finite(predictions: NDArray[Any], served: NDArray[np.bool_], ids: Sequence[str]) -> None:
    """Raise `ImderError` if a prediction isn't finite.

    Args:
        predictions: ``(M, ...)``.
        served: ``(M,)`` bool, the rows that count: those with anything available.
        ids: M names, for the message.

    >>> check_finite(np.array([[1.0, 2.0], [np.nan, 1.0]]), np.array([True, False]), ["a", "b"])
    >>> check_finite(np.array([[1.0, 2.0], [np.nan, 1.0]]), np.array([True, True]), ["a", "b"])
    Traceback (most recent call last):
        ...
    imder.types.ImderError: sample 'b': its prediction isn't finite: its features are too large for the model, or the weights of ...
    """
    if np.isfinite(predictions).all():
        return
    wrong = ~np.isfinite(predictions.reshape(len(predictions), -1)).all(axis=1) & served
    for row in np.flatnonzero(wrong):
        raise ImderError(
            f"sample {ids[int(row)]!r}: its prediction isn't finite: its features are too large for the model, or the weights "
            "of the model are damaged"
        )
