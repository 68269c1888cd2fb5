"""Regions of an image: rotated squares, and the square images that networks are given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import grid_sample

from imder.extract.decoded import Image

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Region:
    """A rotated square in an image, in pixels.

    Attributes:
        x: column of the centre.
        y: row of the centre.
        size: length of a side.
        angle: clockwise rotation in radians; 0 for an upright face.
    """

    x: float
    y: float
    size: float
    angle: float = 0.0

    def to_image(self, points: Points) -> Points:
        """Points ``(n, 2)`` or ``(n, 3)`` in units of the square, [0, 1], in pixels of the image.

        The third coordinate, if any, is a depth and only scaled.

        >>> Region(50, 40, 20).to_image(np.array([[0.5, 0.5], [1.0, 0.0]]))
        array([[50., 40.],
               [60., 30.]])
        """
        centred = (points[:, :2] - 0.5) * self.size
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        plane = centred @ np.array([[cos, sin], [-sin, cos]]) + (self.x, self.y)
        return np.concatenate([plane, points[:, 2:] * self.size], axis=1)

    def overlap(self, other: Region) -> float:
        """Intersection over union of two squares, their rotations ignored.

        >>> round(Region(0, 0, 2).overlap(Region(1, 0, 2)), 3)
        0.333
        """
        sides = [
            max(0.0, min(a + self.size / 2, b + other.size / 2) - max(a - self.size / 2, b - other.size / 2))
            for a, b in ((self.x, other.x), (self.y, other.y))
        ]
        common = sides[0] * sides[1]
        union = self.size**2 + other.size**2 - common
        return common / union if union > 0 else 0.0


def crop(image: Image, region: Region, size: int) -> NDArray[np.float32]:
    """The region as a square image ``(1, size, size, 3)`` with values in [0, 255], bilinear, zero outside the image.

    Args:
        image: ``(H, W, 3)``.
        region: the region.
        size: pixels of a side of the result.
    """
    # Only the window around the region is converted to numbers.
    reach = region.size * (abs(np.cos(region.angle)) + abs(np.sin(region.angle))) / 2 + 2
    height, width = image.shape[:2]
    left, right = (int(np.clip(region.x + sign * reach, 0, width)) for sign in (-1, 1))
    top, bottom = (int(np.clip(region.y + sign * reach, 0, height)) for sign in (-1, 1))
    if right <= left or bottom <= top:
        return np.zeros((1, size, size, 3), np.float32)
    window = torch.from_numpy(image[top:bottom, left:right]).permute(2, 0, 1)[None].float()
    steps = (torch.arange(size, dtype=torch.float32) + 0.5) / size - 0.5
    cos, sin = np.cos(region.angle) * region.size, np.sin(region.angle) * region.size
    x = cos * steps[None, :] - sin * steps[:, None] + (region.x - left)
    y = sin * steps[None, :] + cos * steps[:, None] + (region.y - top)
    grid = torch.stack([2 * x / (right - left) - 1, 2 * y / (bottom - top) - 1], dim=-1)[None]
    square = grid_sample(window, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return square.permute(0, 2, 3, 1).contiguous().numpy()
