"""What fixed models and fillers are told when they are fitted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imder.types import Spec


@dataclass(frozen=True)
class FitSettings:
    """Settings of a fit.

    Attributes:
        spec: modalities, task and classes of the clips.
        folder: where the fit may keep what it has trained. It is the same when a comparison goes on.
        seed: of everything random.
        max_epochs: the most epochs of any phase of training; None for the usual number.
    """

    spec: Spec
    folder: Path
    seed: int = 0
    max_epochs: int | None = None
