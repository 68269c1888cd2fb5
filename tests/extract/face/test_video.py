"""Frames of videos: their times, their rate, how the phone was held, and damage."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av")

from face_videos import turn, write_frames  # noqa: E402
from imder.extract.face.video import MAX_SIDE, Video  # noqa: E402
from imder.types import ImderError  # noqa: E402
from tiny_media import tone, write_video, write_wav  # noqa: E402


def times_of(video):
    return [time for time, _ in video.frames()]


def test_frames_have_the_times_of_the_file(tmp_path) -> None:
    times = [0, 0.03, 0.1, 0.11, 0.3, 0.34, 1.2]  # a variable frame rate
    video = Video(write_frames(tmp_path / "a.mp4", times), 1000)
    np.testing.assert_allclose(times_of(video), times, atol=1e-3)
    assert video.count == 7
    assert video.seconds >= 1.2
    assert video.frame_seconds == pytest.approx(video.seconds / 7)


@pytest.mark.parametrize(("rate", "fps", "count"), [(30, 15, 15), (25, 15, 15), (60, 15, 15), (10, 15, 10), (30, 1, 1)])
def test_no_more_frames_a_second_than_asked_for(tmp_path, rate, fps, count) -> None:
    video = Video(write_frames(tmp_path / "a.mp4", np.arange(2 * rate) / rate), fps)
    times = times_of(video)
    assert len(times) == video.count == 2 * count
    assert set(np.round(np.array(times) * rate).astype(int)) <= set(range(2 * rate))
    assert np.diff(times).max() < 1 / min(fps, rate) + 1 / rate
    assert video.frame_seconds == pytest.approx(1 / count, rel=0.05)


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [((1, 0, 0, 1), (0, 0)), ((0, 1, -1, 0), (0, 1)), ((-1, 0, 0, -1), (1, 1)), ((0, -1, 1, 0), (1, 0))],
)
def test_pictures_are_upright_however_the_phone_was_held(tmp_path, matrix, corner) -> None:
    """The bright upper left quarter goes to where the display matrix turns it."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32] = 255
    path = turn(write_frames(tmp_path / "a.mp4", [0, 0.1], images=[image, image]), matrix)
    _, shown = next(Video(path, 30).frames())
    assert shown.shape == ((48, 64, 3) if matrix[0] else (64, 48, 3))
    height, width = shown.shape[:2]
    quarters = shown.reshape(2, height // 2, 2, width // 2, 3).mean(axis=(1, 3, 4))
    assert np.unravel_index(quarters.argmax(), (2, 2)) == corner
    assert quarters.max() > 200
    assert np.median(quarters) < 30


def test_large_pictures_are_reduced_and_pixels_become_square(tmp_path) -> None:
    _, image = next(Video(write_frames(tmp_path / "a.mp4", [0], size=(1920, 1080)), 30).frames())
    assert image.shape == (720, MAX_SIDE, 3)
    wide = write_frames(tmp_path / "b.mp4", [0], size=(64, 48), aspect=Fraction(4, 3))
    assert next(Video(wide, 30).frames())[1].shape == (48, 85, 3)


def test_a_file_without_a_picture_has_no_frames(tmp_path) -> None:
    video = Video(write_wav(tmp_path / "a.wav", tone(0.2)), 30)
    assert list(video.frames()) == []
    assert not video.has_picture


def test_damage_is_a_remark_and_a_wrong_file_an_error(tmp_path) -> None:
    path = write_video(tmp_path / "a.avi", tone(4), frames=40)
    content = path.read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    video = Video(tmp_path / "cut.avi", 30)
    assert 0 < len(times_of(video)) < 40
    assert video.remarks
    (tmp_path / "noise.mp4").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(ImderError, match=r"noise.mp4: FFmpeg can't read it"):
        times_of(Video(tmp_path / "noise.mp4", 30))
    with pytest.raises(ImderError, match="there is no such file"):
        times_of(Video(tmp_path / "gone.mp4", 30))
