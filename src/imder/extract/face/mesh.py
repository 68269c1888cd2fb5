"""FaceMesh with irises: 478 landmarks of a face.

Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs", 2019 (arXiv:1907.06724), and
Grishchenko et al., "Attention Mesh", 2020 (arXiv:2006.10962). As MediaPipe's ``face_landmarks_detector_graph.cc`` uses it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imder.extract.decoded import Image
from imder.extract.face.region import Region, crop
from imder.extract.face.runtime import Network

SIZE = 256
"""Pixels of a side of the network's image."""
LANDMARKS = 478
MIN_PRESENCE = 0.5
"""A face is lost below this probability."""
MARGIN = 1.5
"""Side of the next frame's region in units of the landmarks' box."""

_RIGHT_EYE, _LEFT_EYE = 33, 263  # outer corners; the right eye is on the left of the image

Landmarks = NDArray[np.float64]
"""``(478, 3)``: column, row and depth in pixels of the image; nearer points have a smaller depth."""


def find_landmarks(network: Network, image: Image, region: Region) -> tuple[Landmarks, float]:
    """Landmarks of the face in a region, and the probability that there is one."""
    values, presence, *_ = network(crop(image, region, SIZE) / np.float32(255))
    landmarks = region.to_image(values.reshape(LANDMARKS, 3).astype(np.float64) / SIZE)
    return landmarks, float(1 / (1 + np.exp(-np.clip(presence[0], -100, 100))))


def next_region(landmarks: Landmarks) -> Region:
    """The region in which the next frame's face is expected: around these landmarks, with level eyes."""
    low, high = landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)
    dx, dy = landmarks[_LEFT_EYE, :2] - landmarks[_RIGHT_EYE, :2]
    x, y = (low + high) / 2
    return Region(float(x), float(y), MARGIN * float(max(high - low)), float(np.arctan2(dy, dx)))
