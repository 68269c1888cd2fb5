"""The head's pose: the canonical face fitted to the landmarks of an image.

MediaPipe's ``geometry_pipeline.cc``: landmarks are taken for the perspective projection of a face by a camera with a vertical
field of view of 63 degrees. Their distance follows from the size of the canonical face, estimated twice; the pose is the
similarity that maps the canonical face to them with the least weighted squared error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imder.extract.face.canonical import CanonicalFace

Points = NDArray[np.float64]

FIELD_OF_VIEW = 63.0
"""Vertical, in degrees."""

_FLIP = np.array([1.0, -1.0, -1.0])
_TINY = 1e-9


@dataclass(frozen=True)
class Similarity:
    """``scale * rotation @ point + translation``; ``rotation`` is ``(3, 3)``, ``translation`` ``(3,)``."""

    scale: float
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]

    def __call__(self, points: Points) -> Points:
        """Points ``(n, 3)``, mapped."""
        return self.scale * points @ self.rotation.T + self.translation

    def inverse(self, points: Points) -> Points:
        """The points ``(n, 3)`` that are mapped to these."""
        return (points - self.translation) @ self.rotation / self.scale


@dataclass(frozen=True)
class Pose:
    """A head in the camera's coordinates: x to the right, y down and z away from the camera, as OpenFace has them.

    Attributes:
        translation: ``(3,)`` centimetres from the camera to the canonical face's origin, within the head.
        rotation: ``(3,)`` pitch, yaw and roll in radians: turns about x, y and z, of which that about z comes first.
        shape: ``(n, 3)`` landmarks in the canonical face's coordinates and centimetres: without rotation, translation, scale.
    """

    translation: NDArray[np.float64]
    rotation: NDArray[np.float64]
    shape: Points


def fit_similarity(source: Points, target: Points, weights: NDArray[np.float64]) -> Similarity:
    """The similarity with the least weighted squared error from ``source`` to ``target``, both ``(n, 3)``.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", IEEE PAMI 13(4), 1991; with
    weights ``(n,)``, which needn't sum to 1.
    """
    shares = weights / weights.sum()
    source_centre, target_centre = shares @ source, shares @ target
    centred = source - source_centre
    u, singular, v = np.linalg.svd((target - target_centre).T @ (shares[:, None] * centred))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(v)) or 1.0])  # no reflection
    rotation = (u * signs) @ v
    scale = float(singular @ signs / max(shares @ (centred**2).sum(axis=1), _TINY))
    return Similarity(scale, rotation, target_centre - scale * rotation @ source_centre)


def fit_pose(landmarks: Points, width: int, height: int, face: CanonicalFace) -> Pose:
    """The pose of a head.

    Args:
        landmarks: ``(n, 3)`` in pixels of the image, n >= 468; further ones (the irises) follow the others.
        width: width of the image.
        height: its height.
        face: the canonical face.
    """
    count = len(face.points)
    scale = 2 * np.tan(np.radians(FIELD_OF_VIEW) / 2) / height  # pixels on the image plane, 1 from the camera
    plane = np.stack([landmarks[:, 0] - width / 2, height / 2 - landmarks[:, 1], landmarks[:, 2]], axis=1) * scale
    depth = plane[:count, 2].mean()

    def fitted(points: Points) -> Similarity:
        return fit_similarity(face.points, points[:count], face.weights)

    def unprojected(size: float) -> Points:
        """Points in space if the face on the image plane is ``size`` times the canonical one."""
        z = (plane[:, 2:] - depth + 1) / size
        return np.concatenate([plane[:, :2] * z, -z], axis=1)

    first = fitted(plane * (1, 1, -1)).scale
    points = unprojected(first * fitted(unprojected(first)).scale)
    pose = fitted(points)
    return Pose(_FLIP * pose.translation, angles(_FLIP[:, None] * pose.rotation * _FLIP), pose.inverse(points))


def angles(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """The angles ``(x, y, z)`` in radians of ``R = X(x) Y(y) Z(z)``, which turns about z first.

    >>> angles(np.eye(3)).tolist()
    [0.0, 0.0, 0.0]
    """
    x = np.arctan2(-rotation[1, 2], rotation[2, 2])
    y = np.arcsin(np.clip(rotation[0, 2], -1, 1))
    z = np.arctan2(-rotation[0, 1], rotation[0, 0])
    return np.array([x, y, z]) + 0.0
