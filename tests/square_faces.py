"""Bright squares that stand in for faces, and models that find them."""

import numpy as np
from scipy import ndimage

from imder.extract.face.canonical import CanonicalFace
from imder.extract.face.detector import anchors
from imder.extract.face.runtime import Bundle

WIDTH, HEIGHT = 320, 240


def blobs(image):
    """Boxes (left, top, right, bottom) of the bright parts of ``(N, N, 3)``, and the picture of their numbers."""
    labels, _ = ndimage.label(image.mean(axis=2) > 0.75)
    return [(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(labels)], labels


def detector(images):
    """Every bright square, at the anchor that is nearest."""
    values, logits = np.zeros((896, 16), np.float32), np.full(896, -9, np.float32)
    for left, top, right, bottom in blobs(images[0])[0]:
        centre = np.array([left + right, top + bottom]) / 2
        anchor = np.abs(anchors() * 128 - centre).sum(axis=1).argmin()
        offset = centre - anchors()[anchor] * 128
        eye = np.array([9, 0])
        values[anchor, :8] = *offset, right - left, bottom - top, *(offset - eye), *(offset + eye)
        logits[anchor] = 3
    return [values.ravel(), logits]


def mesh(images):
    """Landmarks on the bright square in the middle; presence is that of one."""
    boxes, labels = blobs(images[0])
    middle = labels[128, 128]
    left, top, right, bottom = boxes[middle - 1] if middle else (0, 0, 256, 256)
    landmarks = np.zeros((478, 3), np.float32)
    landmarks[:, 0] = np.linspace(left, right, 478)
    landmarks[:, 1] = np.tile((top, bottom), 239)
    landmarks[33, :2], landmarks[263, :2] = (left, 128), (right, 128)
    return [landmarks.ravel(), np.array([9.0 if middle else -9.0], np.float32), np.zeros(1, np.float32)]


def bundle():
    rng = np.random.default_rng(0)
    face = CanonicalFace(rng.uniform(-8, 8, (468, 3)), np.full(468, 1 / 468))
    return Bundle(detector, mesh, lambda values: [np.full(52, 0.25, np.float32)], face)  # type: ignore[arg-type]


def scene(*squares, background=0):
    """A picture with bright squares (x, y, side)."""
    image = np.full((HEIGHT, WIDTH, 3), 0, np.uint8)
    image[:] = np.linspace(0, background, WIDTH, dtype=np.uint8)[:, None]
    for x, y, side in squares:
        image[y - side // 2 : y + side // 2, x - side // 2 : x + side // 2] = 255
    return image
