"""The natural protocol: only what is absent from the corpus is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from numpy.typing import ArrayLike

from imder.missingness.masks import Mask, check_present


@dataclass(frozen=True)
class NaturalMissing:
    """Only what is truly absent is missing.

    >>> NaturalMissing().sample([[True, False], [True, True]], seed=0).tolist()
    [[True, False], [True, True]]
    """

    protocol: ClassVar[str] = "natural"

    def sample(self, present: ArrayLike, seed: int = 0) -> Mask:
        """A copy of ``present``, ``(N, K)`` bool.

        Raises:
            ImderError: ``present`` isn't a bool ``(N, K)`` array, or has a row without any True.
        """
        return check_present(present).copy()
