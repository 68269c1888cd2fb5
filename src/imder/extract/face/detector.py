"""BlazeFace, short range: faces in an image.

Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", 2019 (arXiv:1907.05047). Anchors, scaling
and thresholds are those of MediaPipe's ``face_detector_graph.cc``: 896 anchors of unit size on grids of 16 x 16 (2 each) and
8 x 8 (6 each), scores above .5, boxes that overlap by more than .3 averaged by their scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imder.extract.decoded import Image
from imder.extract.face.region import Region, crop
from imder.extract.face.runtime import Network

SIZE = 128
"""Pixels of a side of the detector's image."""
MIN_SCORE = 0.5
MIN_OVERLAP = 0.3
MARGIN = 1.5
"""Side of a face's region in units of its box."""

Boxes = NDArray[np.float64]


@dataclass(frozen=True)
class Detection:
    """A detected face.

    Attributes:
        score: confidence, [0, 1].
        box: left, top, right, bottom in pixels.
        eyes: ``(2, 2)`` the eyes that are left and right in the image of an upright face.
    """

    score: float
    box: NDArray[np.float64]
    eyes: NDArray[np.float64]

    @property
    def region(self) -> Region:
        """The square around the face for the mesh, rotated so that its eyes are level."""
        left, top, right, bottom = self.box
        dx, dy = self.eyes[1] - self.eyes[0]
        side = MARGIN * max(right - left, bottom - top)
        return Region((left + right) / 2, (top + bottom) / 2, side, float(np.arctan2(dy, dx)))


def anchors() -> NDArray[np.float64]:
    """Centres ``(896, 2)`` of the anchors in units of the image.

    >>> anchors().shape, anchors()[0].tolist(), anchors()[-1].tolist()
    ((896, 2), [0.03125, 0.03125], [0.9375, 0.9375])
    """
    layers = []
    for cells, count in ((16, 2), (8, 6)):
        steps = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(steps, steps, indexing="ij")
        layers.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), count, axis=0))
    return np.concatenate(layers)


_ANCHORS = anchors()


def letterbox(image: Image) -> Region:
    """The smallest upright square with the same centre that holds the whole image."""
    height, width = image.shape[:2]
    return Region(width / 2, height / 2, max(height, width))


def detect(network: Network, image: Image) -> list[Detection]:
    """Faces in an image ``(H, W, 3)``, the most confident first."""
    square = letterbox(image)
    values, logits = network(crop(reduced(image), _scaled(square, image), SIZE) / np.float32(127.5) - np.float32(1))
    scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -100, 100)))
    kept = np.flatnonzero(scores >= MIN_SCORE)
    raw = values.reshape(-1, 16).astype(np.float64)[kept] / SIZE
    centres = raw[:, :2] + _ANCHORS[kept]
    boxes = np.concatenate([centres - raw[:, 2:4] / 2, centres + raw[:, 2:4] / 2], axis=1)
    eyes = raw[:, 4:8].reshape(-1, 2, 2) + _ANCHORS[kept][:, None]
    merged = suppress(scores[kept], np.concatenate([boxes, eyes.reshape(-1, 4)], axis=1))
    return [
        Detection(score, square.to_image(row[:4].reshape(2, 2)).ravel(), square.to_image(row[4:].reshape(2, 2)))
        for score, row in merged
    ]


def suppress(scores: NDArray[np.float64], rows: Boxes) -> list[tuple[float, NDArray[np.float64]]]:
    """Weighted non-maximum suppression.

    The best box that is left takes all that overlap it, and becomes their average, weighted by score.

    Args:
        scores: ``(n,)``.
        rows: ``(n, 4 + k)`` boxes (left, top, right, bottom) and further values that are averaged with them.

    Returns:
        (score of the best, averaged row) of each face, the most confident first.

    >>> rows = np.array([[0, 0, 2, 2], [0, 0, 2, 2.2], [5, 5, 6, 6.0]])
    >>> [(score, row.round(2).tolist()) for score, row in suppress(np.array([0.6, 0.9, 0.7]), rows)]
    [(0.9, [0.0, 0.0, 2.0, 2.12]), (0.7, [5.0, 5.0, 6.0, 6.0])]
    """
    order = np.argsort(-scores, kind="stable")
    faces = []
    while len(order):
        best = order[0]
        similar = _overlaps(rows[best], rows[order]) > MIN_OVERLAP
        similar[0] = True
        members = order[similar]
        weights = scores[members] / scores[members].sum()
        faces.append((float(scores[best]), weights @ rows[members]))
        order = order[~similar]
    return faces


def _overlaps(box: NDArray[np.float64], boxes: Boxes) -> NDArray[np.float64]:
    """Intersection over union of a box with others."""
    sides = np.minimum(box[2:4], boxes[:, 2:4]) - np.maximum(box[:2], boxes[:, :2])
    common: NDArray[np.float64] = np.prod(np.maximum(sides, 0), axis=1)
    areas = np.prod(boxes[:, 2:4] - boxes[:, :2], axis=1)
    union: NDArray[np.float64] = np.maximum(np.prod(box[2:4] - box[:2]) + areas - common, 1e-12)
    shares: NDArray[np.float64] = common / union
    return shares


def reduced(image: Image) -> Image:
    """The image without the rows and columns that a picture of 128 pixels can't show."""
    step = max(1, max(image.shape[:2]) // (4 * SIZE))
    return image if step == 1 else image[step // 2 :: step, step // 2 :: step]


def _scaled(square: Region, image: Image) -> Region:
    small = reduced(image)
    scale = small.shape[1] / image.shape[1]
    return Region(small.shape[1] / 2, small.shape[0] / 2, square.size * scale)
