"""Anchors, suppression, regions, crops and the fit of a pose, against closed forms."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from imder.extract.face.canonical import CanonicalFace, read_canonical
from imder.extract.face.detector import MARGIN, anchors, detect, letterbox, suppress
from imder.extract.face.fit import FIELD_OF_VIEW, angles, fit_pose, fit_similarity
from imder.extract.face.gaze import RADIUS, gaze
from imder.extract.face.mesh import next_region
from imder.extract.face.region import Region, crop


def turned(x: float, y: float, z: float) -> np.ndarray:
    """The rotation X(x) Y(y) Z(z), built from its three factors."""
    cx, sx, cy, sy, cz, sz = np.cos(x), np.sin(x), np.cos(y), np.sin(y), np.cos(z), np.sin(z)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def a_face(count: int = 468, seed: int = 0) -> CanonicalFace:
    """Points of about a head's size, a third of which have weights."""
    rng = np.random.default_rng(seed)
    weights = np.where(np.arange(count) % 3 == 0, rng.uniform(0.01, 0.1, count), 0.0)
    return CanonicalFace(rng.uniform(-8, 8, (count, 3)) * (1, 1, 0.5), weights)


def projected(points: np.ndarray, width: int, height: int) -> np.ndarray:
    """Pixels, and depths in pixels, of points ``(n, 3)`` in a camera's view (z negative in front of it).

    The depth of a point is that of weak perspective, which is what the mesh gives.
    """
    scale = height / (2 * np.tan(np.radians(FIELD_OF_VIEW) / 2))
    near = points[:, :2] / -points[:, 2:] * scale
    mean = points[:, 2].mean()
    depth = (points[:, 2] - mean) / mean * scale
    return np.stack([width / 2 + near[:, 0], height / 2 - near[:, 1], depth], axis=1)


def test_anchors_are_the_centres_of_two_grids() -> None:
    centres = anchors()
    assert centres.shape == (896, 2)
    fine, rough = centres[:512].reshape(16, 16, 2, 2), centres[512:].reshape(8, 8, 6, 2)
    np.testing.assert_allclose(fine[3, 5], [[5.5 / 16, 3.5 / 16]] * 2)
    np.testing.assert_allclose(rough[7, 2], [[2.5 / 8, 7.5 / 8]] * 6)


def test_suppression_averages_each_face_by_score() -> None:
    faces = [np.array([0, 0, 1, 1.0]), np.array([3, 3, 5, 5.0]), np.array([8, 0, 9, 1.0])]
    rng = np.random.default_rng(0)
    rows, scores, owners = [], [], []
    for i, face in enumerate(faces):
        for _ in range(5):
            rows.append(np.concatenate([face + rng.normal(0, 0.02, 4), [i]]))
            scores.append(rng.uniform(0.5, 1))
            owners.append(i)
    order = rng.permutation(15)
    rows, scores, owners = np.array(rows)[order], np.array(scores)[order], np.array(owners)[order]
    merged = suppress(scores, rows)
    assert [score for score, _ in merged] == sorted((scores[owners == i].max() for i in range(3)), reverse=True)
    for _, row in merged:
        own = owners == round(row[4])
        np.testing.assert_allclose(row, np.average(rows[own], axis=0, weights=scores[own]))
    assert suppress(np.zeros(0), np.zeros((0, 8))) == []


@pytest.mark.parametrize("size", [(300, 500), (500, 300), (240, 240), (1080, 1920)])
def test_a_detection_is_given_in_pixels_whatever_the_shape_of_the_image(size: tuple[int, int]) -> None:
    """A network that always finds a box of 32 x 48 of its 128 pixels around an anchor."""
    anchor = 200

    def network(image: np.ndarray) -> list[np.ndarray]:
        assert image.shape == (1, 128, 128, 3)
        values, logits = np.zeros((896, 16), np.float32), np.full(896, -9, np.float32)
        values[anchor, 2:8] = 32, 48, -8, -4, 8, 4
        logits[anchor] = 2
        return [values.ravel(), logits]

    image = np.zeros((*size, 3), np.uint8)
    (found,) = detect(network, image)  # type: ignore[arg-type]
    side = max(size)
    centre = anchors()[anchor] * side - (side - np.array([size[1], size[0]])) / 2
    half, eye = np.array([side / 8, side * 3 / 16]), np.array([side / 16, side / 32])
    np.testing.assert_allclose(found.box, np.concatenate([centre - half, centre + half]))
    np.testing.assert_allclose(found.eyes, [centre - eye, centre + eye])
    assert found.score == pytest.approx(1 / (1 + np.exp(-2)))
    region = found.region
    assert (region.x, region.y) == pytest.approx(tuple(centre))
    assert region.size == pytest.approx(MARGIN * side * 3 / 8)
    assert region.angle == pytest.approx(np.arctan2(1, 2))


def test_a_letterbox_holds_the_whole_image_and_nothing_else() -> None:
    image = np.full((60, 100, 3), 255, np.uint8)
    square = crop(image, letterbox(image), 100)[0, ..., 0]
    np.testing.assert_allclose(square[20:80], 255, atol=1e-3)
    assert max(square[:20].max(), square[80:].max()) < 1e-3


@pytest.mark.parametrize("angle", [0.0, 0.4, -1.2, np.pi / 2])
def test_a_crop_shows_the_colours_of_the_points_that_it_maps(angle: float) -> None:
    """A picture whose colours are linear in the place shows them at the points that `to_image` gives."""
    height, width = 200, 300
    y, x = np.mgrid[:height, :width] + 0.5
    image = np.stack([x * 0.8, y, (x + y) / 2.5], axis=2).round().astype(np.uint8)
    region = Region(150.3, 99.1, 80.5, angle)
    steps = (np.arange(40) + 0.5) / 40
    rows, columns = np.meshgrid(steps, steps, indexing="ij")
    points = region.to_image(np.stack([columns.ravel(), rows.ravel()], axis=1))
    expected = np.stack([points[:, 0] * 0.8, points[:, 1], points.sum(axis=1) / 2.5], axis=1)
    np.testing.assert_allclose(crop(image, region, 40).reshape(-1, 3), expected, atol=0.6)


def test_a_crop_outside_the_image_is_black() -> None:
    image = np.full((50, 50, 3), 200, np.uint8)
    assert crop(image, Region(-500, 20, 30), 16).max() == 0
    half = crop(image, Region(0, 25, 20), 20)[0, ..., 0]
    assert half[:, :10].max() == 0
    np.testing.assert_allclose(half[:, 10:], 200, atol=1e-3)


@pytest.mark.parametrize("angle", [0.0, 0.3, -0.7])
def test_the_next_region_is_level_with_the_eyes_and_half_as_large_again(angle: float) -> None:
    rng = np.random.default_rng(0)
    flat = rng.uniform(-10, 10, (478, 2))
    flat[33], flat[263] = (-5, 0), (5, 0)
    cos, sin = np.cos(angle), np.sin(angle)
    points = flat @ np.array([[cos, sin], [-sin, cos]]) + (70, 40)
    region = next_region(np.concatenate([points, np.zeros((478, 1))], axis=1))
    low, high = points.min(axis=0), points.max(axis=0)
    assert region.angle == pytest.approx(angle)
    assert (region.x, region.y) == pytest.approx(tuple((low + high) / 2))
    assert region.size == pytest.approx(1.5 * max(high - low))


@pytest.mark.parametrize("seed", range(5))
def test_a_similarity_is_recovered_exactly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source, weights = rng.normal(size=(20, 3)), rng.uniform(0, 1, 20)
    rotation, scale, shift = turned(*rng.uniform(-1.5, 1.5, 3)), rng.uniform(0.1, 9), rng.normal(size=3)
    target = scale * source @ rotation.T + shift
    fit = fit_similarity(source, target, weights)
    assert fit.scale == pytest.approx(scale)
    np.testing.assert_allclose(fit.rotation, rotation, atol=1e-12)
    np.testing.assert_allclose(fit.translation, shift, atol=1e-10)
    np.testing.assert_allclose(fit(source), target, atol=1e-10)
    np.testing.assert_allclose(fit.inverse(target), source, atol=1e-10)


def test_a_fit_ignores_points_without_weight_and_never_reflects() -> None:
    rng = np.random.default_rng(1)
    source = rng.normal(size=(20, 3))
    target = 2 * source @ turned(0.1, 0.2, 0.3).T
    weights = np.ones(20)
    target[15:], weights[15:] = 100, 0
    np.testing.assert_allclose(fit_similarity(source, target, weights).rotation, turned(0.1, 0.2, 0.3), atol=1e-12)
    mirrored = fit_similarity(source, source * (-1, 1, 1), np.ones(20))
    assert np.linalg.det(mirrored.rotation) == pytest.approx(1)


def test_a_fit_has_the_least_weighted_error() -> None:
    rng = np.random.default_rng(2)
    source, weights = rng.normal(size=(30, 3)), rng.uniform(0.1, 1, 30)
    target = 1.7 * source @ turned(0.4, -0.2, 1).T + (1, 2, 3) + rng.normal(0, 0.3, (30, 3))
    fit = fit_similarity(source, target, weights)

    def error(scale: float, rotation: np.ndarray, shift: np.ndarray) -> float:
        return float(weights @ ((scale * source @ rotation.T + shift - target) ** 2).sum(axis=1))

    least = error(fit.scale, fit.rotation, fit.translation)
    for _ in range(50):
        step = rng.normal(0, 0.01, 7)
        assert error(fit.scale + step[0], fit.rotation @ turned(*step[1:4]), fit.translation + step[4:]) >= least


@pytest.mark.parametrize("turn", [(0, 0, 0), (0.3, 0, 0), (0, -0.5, 0), (0, 0, 0.7), (0.2, 0.4, -0.3)])
def test_angles_are_those_that_a_rotation_was_made_of(turn: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(angles(turned(*turn)), turn, atol=1e-12)


@pytest.mark.parametrize("turn", [(0, 0, 0), (0.3, 0, 0), (0, -0.5, 0), (0, 0, 0.7), (0.2, 0.4, -0.3)])
@pytest.mark.parametrize("place", [(0, 0, 60), (15, -8, 80)])
def test_the_pose_of_a_projected_face_is_recovered(turn: tuple[float, ...], place: tuple[float, ...]) -> None:
    face = a_face()
    flip = np.array([1, -1, -1.0])  # OpenFace's axes (y down, z away) against the canonical face's
    points = face.points @ (flip[:, None] * turned(*turn) * flip).T + flip * place
    pose = fit_pose(projected(points, 640, 480), 640, 480, face)
    np.testing.assert_allclose(pose.rotation, turn, atol=0.06)  # depths are those of weak perspective
    np.testing.assert_allclose(pose.translation, place, rtol=0.05, atol=1.5)
    assert np.abs(pose.shape - face.points).mean() < 0.35


def test_a_turn_in_the_image_is_a_roll_and_a_shift_a_translation() -> None:
    face = a_face()
    points = face.points - np.array([0, 0, 70.0])
    upright = fit_pose(projected(points, 640, 480), 640, 480, face)
    pixels = projected(points, 640, 480)
    cos, sin = np.cos(0.5), np.sin(0.5)  # clockwise, as y points down
    centre = np.array([320, 240])
    pixels[:, :2] = (pixels[:, :2] - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre
    rolled = fit_pose(pixels, 640, 480, face)
    np.testing.assert_allclose(rolled.rotation - upright.rotation, (0, 0, 0.5), atol=1e-3)
    np.testing.assert_allclose(rolled.translation[2], upright.translation[2], rtol=1e-6)
    np.testing.assert_allclose(rolled.shape, upright.shape, atol=1e-6)


def test_gaze_is_the_angle_of_the_irises() -> None:
    shape = np.zeros((478, 3))
    shape[33], shape[133], shape[263], shape[362] = (-4.5, 2, 0), (-1.5, 2, 0), (4.5, 2, 0), (1.5, 2, 0)
    shape[468], shape[473] = (-3, 2, 0), (3, 2, 0)
    assert gaze(shape).tolist() == [0, 0, 0, 0]
    shape[468] += (RADIUS * np.sin(0.3), 0, 0)
    shape[473] += (0, -RADIUS * np.sin(0.2), 0)
    np.testing.assert_allclose(gaze(shape), [0.3, 0, 0, 0.2])


def message(field: int, content: bytes) -> bytes:
    """A field of a protocol buffer."""
    return bytes([field << 3 | 2, len(content) & 127 | 128, len(content) >> 7]) + content


def test_the_canonical_face_is_read_from_its_buffer() -> None:
    numbers = np.arange(15, dtype=np.float32) / 3
    vertices = b"".join(b"\x1d" + struct.pack("<f", x) for x in numbers)
    basis = [message(2, b"\x08" + bytes([i]) + b"\x15" + struct.pack("<f", w)) for i, w in ((0, 0.5), (2, 0.25))]
    content = message(1, b"\x08\x00\x10\x00" + vertices + b"\x20\x01") + b"".join(basis) + b"\x18\x01"
    face = read_canonical(content)
    np.testing.assert_allclose(face.points, numbers.reshape(3, 5)[:, :3])
    assert face.weights.tolist() == [0.5, 0, 0.25]
    for damaged in (b"", content[:-30], content[:40], message(1, vertices), b"\xff" * 20, b"\x0b" + content):
        with pytest.raises(ValueError, match=r"canonical|buffer|number|cannot reshape"):
            read_canonical(damaged)
