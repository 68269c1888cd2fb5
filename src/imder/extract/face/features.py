"""Features of a face in a frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imder.extract.face import blendshapes, gaze
from imder.extract.face.fit import fit_pose
from imder.extract.face.mesh import LANDMARKS, Landmarks
from imder.extract.face.runtime import Bundle

POSE = ("headX", "headY", "headZ", "headPitch", "headYaw", "headRoll")
FACE = (*blendshapes.NAMES, *POSE, *gaze.NAMES)
"""The 62 features of ``face``: blendshapes, the head's place in centimetres and turn in radians, gaze in radians."""
SHAPE = tuple(f"landmark{axis}{i}" for i in range(LANDMARKS) for axis in "XYZ")
"""Landmarks in the canonical face's coordinates, in centimetres."""

COLUMNS = {"face": FACE, "face+landmarks": (*FACE, *SHAPE)}
"""The features of each recipe."""


def measure(
    bundle: Bundle, landmarks: Landmarks, width: int, height: int, *, with_shape: bool = False
) -> NDArray[np.float32]:
    """The features ``(62,)`` of a face, or ``(1496,)`` with its landmarks.

    Args:
        bundle: the models.
        landmarks: ``(478, 3)`` in pixels.
        width: width of the image.
        height: its height.
        with_shape: whether landmarks are added.
    """
    pose = fit_pose(landmarks, width, height, bundle.canonical)
    expression = blendshapes.blendshapes(bundle.blendshapes, landmarks)
    shape = pose.shape.ravel() if with_shape else np.zeros(0)
    values = np.concatenate([expression, pose.translation, pose.rotation, gaze.gaze(pose.shape), shape])
    return values.astype(np.float32)
