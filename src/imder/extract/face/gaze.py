"""Gaze: where the irises are in the eyes, as angles relative to the head.

The pose is taken out of the landmarks first. The centre of an eyeball is assumed behind the middle of the eye's corners, and
its radius is that of an adult (12 mm: Bekerman et al., "Variations in eyeball diameters of the healthy adults", J. Ophthalmol.
2014). Closed eyes have no gaze: the irises that the mesh gives there are guesses.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NAMES = ("gazeRightX", "gazeRightY", "gazeLeftX", "gazeLeftY")

RADIUS = 1.2
"""Of an eyeball, in centimetres."""

_EYES = ((33, 133, 468), (263, 362, 473))  # outer corner, inner corner, centre of the iris: right eye, left eye


def gaze(shape: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angles ``(4,)`` in radians: of the right and the left eye, to the right of the image and down.

    Args:
        shape: ``(478, 3)`` landmarks in the canonical face's coordinates (`imder.extract.face.fit.Pose`).
    """
    offsets = []
    for outer, inner, iris in _EYES:
        dx, dy = (shape[iris] - (shape[outer] + shape[inner]) / 2)[:2]
        offsets += [dx, -dy]
    return np.arcsin(np.clip(np.array(offsets) / RADIUS, -1, 1))
