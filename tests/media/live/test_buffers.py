"""What is kept of sound and faces: the same as of files, and never more than a window needs."""

import numpy as np
import pytest

pytest.importorskip("av")

from face_videos import write_frames
from imder.extract.face import extractor
from imder.extract.face.extractor import FACES
from imder.extract.manifest import Clip
from imder.extract.recipe import FaceRecipe
from imder.media.live import faces
from imder.media.live.faces import FaceBuffer
from imder.media.live.sound import SoundBuffer, as_mono
from square_faces import HEIGHT, WIDTH, bundle, scene

SCENES = [scene((60 + i, 120, 60), *([(240, 120, 40)] if i > 8 else [])) for i in range(12)] + [scene()] * 8


def noise(count, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, count).astype(np.float32)


def test_sound_in_pieces_is_the_sound():
    buffer, sound = SoundBuffer(4.0), noise(30_000)
    for first in range(0, 30_000, 100):
        buffer.put(first / 10_000, sound[first : first + 100], 10_000)
    samples, rate, gaps = buffer.cut(1.0, 2.5)
    np.testing.assert_array_equal(samples, sound[10_000:25_000])
    assert (rate, gaps) == (10_000, [])
    assert buffer.cut(5.0, 6.0) is None


def test_times_that_tremble_leave_neither_gaps_nor_overlaps():
    buffer, sound = SoundBuffer(4.0), noise(20_000)
    late = np.random.default_rng(1).uniform(-0.004, 0.004, 200)
    for i, first in enumerate(range(0, 20_000, 100)):
        buffer.put(max(0.0, first / 10_000 + (late[i] if i else 0)), sound[first : first + 100], 10_000)
    np.testing.assert_array_equal(buffer.cut(0.0, 2.0)[0], sound)


def test_pieces_in_another_order_and_gaps_between_them():
    buffer, sound = SoundBuffer(4.0), noise(20_000)
    for first in (4000, 0, 12_000, 14_000, 2000):
        buffer.put(first / 10_000, sound[first : first + 2000], 10_000)
    samples, _, gaps = buffer.cut(0.0, 2.0)
    assert gaps == [(0.6, 1.2), (1.6, 2.0)]
    np.testing.assert_array_equal(samples[:6000], sound[:6000])
    np.testing.assert_array_equal(samples[12_000:16_000], sound[12_000:16_000])
    assert not samples[6000:12_000].any()
    assert buffer.cut(0.1, 0.7)[2] == [(pytest.approx(0.5), pytest.approx(0.6))]


def test_another_rate_begins_anew():
    buffer = SoundBuffer(4.0)
    buffer.put(0.0, noise(10_000), 10_000)
    buffer.put(1.0, noise(8000), 8000)
    samples, rate, gaps = buffer.cut(0.0, 2.0)
    assert (len(samples), rate, gaps) == (16_000, 8000, [(0.0, 1.0)])


def test_hours_of_sound_take_a_window():
    buffer = SoundBuffer(4.0)
    for second in range(0, 7200, 2):
        buffer.put(second, noise(2000), 1000)
        buffer.forget(second - 1)
    assert buffer.size == 4001
    np.testing.assert_array_equal(buffer.cut(7198.0, 7200.0)[0], noise(2000))


def test_integers_and_channels_become_mono():
    np.testing.assert_allclose(as_mono(np.array([[32767, -32768]] * 4, np.int16), 16000), -0.5 / 32768, atol=1e-7)
    assert as_mono(np.full(9, 1e6), 16000) is None
    assert as_mono(np.zeros(9), 10) is None


@pytest.fixture
def face_bundle(monkeypatch):
    for module in (extractor, faces):
        monkeypatch.setattr(module, "bundle_of", lambda model, sha256: bundle())


def buffered(images, person="longest", fps=15, order=None, length=0.1):
    buffer = FaceBuffer(FaceRecipe("face", 62, "model", "0", fps, person), 10.0)
    for i in range(len(images)) if order is None else order:
        buffer.put(i * length, images[i])
        buffer.track(i * length - 0.5)
    buffer.track(100.0)
    return buffer


@pytest.mark.parametrize("person", ["longest", "largest", "1"])
def test_faces_of_frames_are_those_of_a_video(face_bundle, tmp_path, person):
    path = write_frames(tmp_path / "a.mp4", np.arange(20) / 10, size=(WIDTH, HEIGHT), images=SCENES)
    from imder.extract.face.video import Video

    images = [image for _, image in Video(path, 15).frames()]
    expected = FACES[0].make(Clip("a", video=path), FaceRecipe("face", 62, "model", "0", 15, person), None)
    values, share = buffered(images, person).cut(0.0, 2.0, last=True)
    np.testing.assert_allclose(values, expected.features, atol=1e-5)
    assert share == pytest.approx(len(expected.features) / 20, abs=0.01)


def test_frames_are_tracked_in_the_order_of_their_times(face_bundle):
    order = [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, *range(12, 20)]
    values, _ = buffered(SCENES, order=order).cut(0.0, 2.0, last=True)
    np.testing.assert_array_equal(values, buffered(SCENES).cut(0.0, 2.0, last=True)[0])


def test_a_face_that_leaves_covers_less_and_then_nothing(face_bundle):
    buffer = buffered(SCENES)
    shares = [buffer.cut(start, start + 0.5, last=False)[1] for start in (0.0, 0.5, 1.0, 1.5)]
    assert shares == pytest.approx([1.0, 1.0, 0.4, 0.0])
    assert buffer.cut(1.5, 2.0, last=False)[0] is None
    buffer.forget(1.0)
    assert buffer.size == 4


def test_frames_that_nobody_takes_and_more_than_the_recipe_reads_are_bounded(face_bundle):
    buffer = FaceBuffer(FaceRecipe("face", 62, "model", "0", 5, "longest"), 2.0)
    for i in range(200):
        buffer.put(i / 30, SCENES[0])
    assert buffer.size <= faces.MOST_FRAMES + 2 * 5 * 4 + 1
    buffer.track(100.0)
    assert buffer.frame_seconds == pytest.approx(0.2, abs=0.01)
    assert not buffer.put(0.0, SCENES[0])
