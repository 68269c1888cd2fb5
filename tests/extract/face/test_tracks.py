"""Cuts, tracks and the face that counts, on bright squares that stand in for faces."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

pytest.importorskip("av")

from face_videos import write_frames
from imder.extract.face import extractor
from imder.extract.face.cuts import CutDetector
from imder.extract.face.extractor import FACES, select
from imder.extract.face.features import FACE
from imder.extract.face.tracker import MAX_FACES, SEARCH_EVERY, Tracker
from imder.extract.manifest import Clip
from imder.extract.recipe import FaceRecipe
from square_faces import HEIGHT, WIDTH, bundle, scene


def tracks(images):
    """The numbers of the tracks in each frame."""
    tracker = Tracker(bundle())
    return [[face.track for face in tracker(image)] for image in images]


def test_a_face_that_moves_and_grows_is_one_track() -> None:
    assert tracks(scene((60 + 4 * i, 120, 40 + i)) for i in range(40)) == [[0]] * 40


def test_faces_are_numbered_from_left_to_right_and_keep_their_numbers() -> None:
    assert tracks(scene((250 - i, 120, 40), (60 + i, 120, 60)) for i in range(20)) == [[0, 1]] * 20


def test_a_further_face_is_noticed_within_a_few_frames() -> None:
    rows = tracks(scene((80, 120, 40), *([(240, 120, 40)] if i >= 11 else [])) for i in range(20))
    assert rows[:11] == [[0]] * 11
    assert all(row == [0, 1] for row in rows[10 + SEARCH_EVERY :])


def test_a_face_that_returns_to_its_place_continues_its_track_and_elsewhere_begins_one() -> None:
    images = [scene((80, 120, 40))] * 5 + [scene()] * 30 + [scene((90, 125, 40))] * 3
    images += [scene()] * 3 + [scene((260, 60, 40))] * 2
    assert tracks(images) == [[0]] * 5 + [[]] * 30 + [[0]] * 3 + [[]] * 3 + [[1]] * 2


def test_a_cut_ends_a_track_even_where_another_face_is_at_the_same_place() -> None:
    images = [scene((160, 120, 60))] * 6 + [scene((160, 120, 60), background=150)] * 6
    assert tracks(images) == [[0]] * 6 + [[1]] * 6


def test_two_tracks_that_meet_on_one_face_become_one() -> None:
    """The right face disappears behind the left one, where its region drifts."""
    images = [scene((100, 120, 60), (190, 120, 60))] * 3
    images += [scene((100 + i, 120, 60), (max(190 - 12 * i, 101 + i), 120, 60)) for i in range(12)]
    rows = tracks(images)
    assert rows[0] == [0, 1]
    assert rows[-1] == [0]


def test_so_many_faces_at_most_and_the_largest_first() -> None:
    squares = [(30 + 50 * i, 60 + 120 * (i % 2), 20 + 4 * i) for i in range(MAX_FACES + 2)]
    tracker = Tracker(bundle())
    faces = tracker(scene(*squares))
    assert [face.track for face in faces] == list(range(MAX_FACES))
    np.testing.assert_allclose([face.region.x for face in faces], [x for x, _, _ in squares[2:]], atol=2)


def cuts(images):
    is_cut = CutDetector()
    return [i for i, image in enumerate(images) if is_cut(image)]


def test_cuts_are_told_from_movement_and_from_flashes() -> None:
    rng = np.random.default_rng(0)
    shots = [ndimage.zoom(rng.uniform(0, 200, (6, 8)), 40, order=1)[:HEIGHT, :WIDTH] for _ in range(3)]
    shots = [np.repeat(shot[..., None], 3, axis=2) for shot in shots]
    noisy = [(shot + rng.normal(0, 8, shot.shape)).clip(0, 255).astype(np.uint8) for shot in shots for _ in range(10)]
    assert cuts(noisy) == [10, 20]
    moving = [np.roll(shots[0], 6 * i, axis=1).astype(np.uint8) for i in range(30)]
    assert cuts(moving) == []
    flash = [shots[0].astype(np.uint8)] * 5 + [(shots[0] + 50).clip(0, 255).astype(np.uint8)] * 2
    assert cuts(flash) == []
    assert cuts([noisy[0], noisy[1][:100]]) == [1]  # a frame of another size


@pytest.fixture
def make(tmp_path, monkeypatch):
    """A function: the features of a video of scenes, ten a second, for an option of ``--person``."""
    monkeypatch.setattr(extractor, "bundle_of", lambda model, sha256: bundle())

    def make(images, person="longest", columns="face", fps=15):
        times = np.arange(len(images)) / 10
        path = write_frames(tmp_path / "a.mp4", times, size=(WIDTH, HEIGHT), images=images)
        recipe = FaceRecipe(columns, 62, "model", "0", fps, person)
        return FACES[0].make(Clip("a", video=path), recipe, None)

    return make


def test_frames_without_the_face_are_left_out_counted_and_remarked(make) -> None:
    features = make([scene()] * 3 + [scene((160, 120, 60))] * 7 + [scene()] * 5)
    assert features.features.shape == (7, len(FACE)) == (7, 62)
    assert np.isfinite(features.features).all()
    np.testing.assert_allclose(features.features[:, :52], 0.25)
    np.testing.assert_allclose(features.times, np.arange(3, 10) / 10, atol=1e-3)
    assert features.untracked == 8
    assert features.remark == "8 of 15 frames without this face left out"
    assert features.frame_seconds == pytest.approx(0.1, rel=0.05)
    assert features.seconds == pytest.approx(1.5, rel=0.05)


def test_landmarks_follow_the_other_features(make) -> None:
    images = [scene((100, 120, 60)), scene((120, 110, 60))]
    plain, shaped = make(images), make(images, columns="face+landmarks")
    assert shaped.features.shape == (2, 62 + 3 * 478)
    np.testing.assert_allclose(shaped.features[:, :62], plain.features)


@pytest.mark.parametrize(
    ("person", "x", "rule"),
    [
        ("longest", 60, "the one tracked longest"),
        ("largest", 240, "the largest"),
        ("0", 60, "face 0"),
        ("1", 240, "face 1"),
    ],
)
def test_of_several_people_one_counts(make, person, x, rule) -> None:
    images = [scene((60, 120, 40), *([(240, 120, 80)] if i < 8 else [])) for i in range(12)]
    features = make(images, person)
    count = 12 if x == 60 else 8
    assert len(features.features) == count
    assert f"2 faces, used {rule} ({count} of 12 frames)" in features.remark
    side = np.sign(features.features[:, FACE.index("headX")])
    assert (side == (-1 if x < WIDTH / 2 else 1)).all()


def test_nobody_and_a_number_too_high_are_remarks(make) -> None:
    nobody = make([scene()] * 4)
    assert (nobody.features, nobody.untracked, nobody.remark) == (None, 4, "no face")
    assert make([scene((160, 120, 60))] * 2, "3").remark == "no face 3 among 1, counted from 0"
    assert select([], "longest") is None


def test_fewer_frames_a_second(make) -> None:
    features = make([scene((160, 120, 60))] * 20, fps=5)
    assert len(features.features) == 10
    assert features.frame_seconds == pytest.approx(0.2, rel=0.05)
