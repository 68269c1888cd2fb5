"""The fixed protocol: the same subset of modalities for every sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from imder.missingness.masks import Mask, check_present
from imder.types import ImderError


@dataclass(frozen=True)
class FixedMissing:
    """The same subset of modalities for every sample.

    Args:
        available: K flags in the order of ``Spec.names``, at least one of them True (see `pattern_from_name`).

    Raises:
        ImderError: no modality is available.

    >>> FixedMissing((True, False)).sample([[True, True], [False, True]], seed=0).tolist()
    [[True, False], [False, False]]
    """

    available: tuple[bool, ...]
    protocol: ClassVar[str] = "fixed"

    def __post_init__(self) -> None:
        object.__setattr__(self, "available", tuple(bool(a) for a in self.available))
        if not any(self.available):
            raise ImderError("fixed protocol: at least one modality must be available")

    def sample(self, present: ArrayLike, seed: int = 0) -> Mask:
        """``present`` cut down to the subset, ``(N, K)`` bool; rows that hold none of it are all False (not served).

        Raises:
            ImderError: ``present`` isn't a bool ``(N, K)`` array with this many columns, or has an empty row.
        """
        present = check_present(present)
        if present.shape[1] != len(self.available):
            raise ImderError(
                f"fixed protocol: a subset of {len(self.available)} modalities was given for a corpus "
                f"of {present.shape[1]}"
            )
        available: Mask = present & np.array(self.available, dtype=bool)
        return available
