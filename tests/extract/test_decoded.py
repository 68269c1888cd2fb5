"""Decoded media: arrays have the features of the file that they were decoded from."""

from __future__ import annotations

import numpy as np
import pytest

soundfile = pytest.importorskip("soundfile")
av = pytest.importorskip("av")

from face_videos import write_frames  # noqa: E402
from imder.extract.audio import audio_features  # noqa: E402
from imder.extract.decoded import DecodedFrames, DecodedSound  # noqa: E402
from imder.extract.extractors import recipe_of  # noqa: E402
from imder.extract.face.video import Video  # noqa: E402
from imder.extract.media import Sound  # noqa: E402
from imder.types import ImderError  # noqa: E402
from tiny_media import tone, write_video, write_wav  # noqa: E402


def decode_sound(path):
    """Samples ``(n, channels)`` and the rate, by PyAV alone."""
    with av.open(str(path)) as container:
        frames = [*container.decode(container.streams.audio[0])]
    return np.concatenate([frame.to_ndarray().reshape(-1, frame.samples) for frame in frames], axis=1).T, frames[0].rate


def decode_frames(path):
    """(seconds, image) of each frame, by PyAV alone."""
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.video[0]):
            yield frame.time, frame.to_ndarray(format="rgb24")


@pytest.mark.parametrize("kind", ["librosa33", "mel64"])
@pytest.mark.parametrize("rate", [8000, 22050, 48000])
@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "float64"])
def test_samples_have_the_features_of_the_sound_file(tmp_path, kind, rate, dtype) -> None:
    recipe = recipe_of("audio", kind)
    both = np.stack([tone(0.6, rate), tone(0.6, rate, seed=1)], axis=1)
    path = write_wav(tmp_path / "a.wav", both, rate, subtype="PCM_16")
    samples, read = soundfile.read(path, dtype=dtype)
    assert read == rate
    found = audio_features(Sound(DecodedSound(samples, rate), recipe.rate), recipe)
    np.testing.assert_allclose(found, audio_features(Sound(path, recipe.rate), recipe), rtol=1e-5, atol=1e-5)


def test_samples_have_the_features_of_the_sound_of_a_video(tmp_path) -> None:
    recipe = recipe_of("audio", "librosa33")
    path = write_video(tmp_path / "a.mkv", tone(0.8, 48000), 48000)
    samples, rate = decode_sound(path)
    assert samples.dtype == np.int16
    sound = Sound(DecodedSound(samples, rate), recipe.rate)
    np.testing.assert_allclose(
        audio_features(sound, recipe), audio_features(Sound(path, recipe.rate), recipe), rtol=1e-5, atol=1e-5
    )
    assert sound.seconds == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("as_arrays", [True, False])
@pytest.mark.parametrize(("fps", "size"), [(30, (64, 48)), (7, (64, 48)), (30, (1920, 1080))])
def test_frames_are_those_of_the_video(tmp_path, as_arrays, fps, size) -> None:
    times = np.arange(8 if size[0] < 100 else 2) / 30
    path = write_frames(tmp_path / "a.mp4", times, size)
    given = decode_frames(path)
    if as_arrays:
        seconds, images = zip(*given)
        given = (np.array(seconds), np.stack(images))
    decoded, file = Video(DecodedFrames(given), fps), Video(path, fps)
    for (time, image), (expected_time, expected) in zip(decoded.frames(), file.frames(), strict=True):
        assert time == pytest.approx(expected_time)
        np.testing.assert_array_equal(image, expected)
    assert decoded.count == file.count > 0
    assert decoded.seconds == pytest.approx(file.seconds, abs=0.01)


def test_frames_are_read_one_at_a_time(tmp_path) -> None:
    alive = []

    def generated():
        for i in range(20):
            alive.append(i)
            yield i / 10, np.full((8, 8, 3), i, np.uint8)

    for i, (_, image) in enumerate(Video(DecodedFrames(generated()), 10).frames()):
        assert alive[-1] == i == image[0, 0, 0]


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros(8), 0, "whole number of samples per second, got 0"),
        (np.zeros(8), 16000.5, "whole number of samples per second, got 16000.5"),
        (np.zeros((2, 16000)), 16000, r"\(n, channels\), got \(2, 16000\); transpose"),
        (np.zeros((2, 2, 2)), 16000, r"got float64 \(2, 2, 2\)"),
        (np.zeros(8, np.uint8), 16000, "got uint8"),
        (["a"], 16000, "samples are floats or signed integers"),
        (np.full(8, 3e4), 16000, r"values up to 30000; divide by the full scale"),
    ],
)
def test_what_is_no_sound_is_refused(samples, rate, message) -> None:
    with pytest.raises(ImderError, match=message):
        DecodedSound(samples, rate)


def test_sound_of_nothing_and_of_no_numbers_is_an_error() -> None:
    for samples, message in ((np.zeros(0), "audio: the sound is empty"), (np.full(99, np.nan), "audio: .* not finite")):
        with pytest.raises(ImderError, match=message):
            list(Sound(DecodedSound(samples, 16000), 16000).chunks())
    with pytest.raises(ImderError, match="audio: a sampling rate of 9 Hz"):
        list(Sound(DecodedSound(np.zeros(9), 9), 16000).chunks())


IMAGE = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "frames: there are none"),
        ([IMAGE], "frame 0 is not a pair of seconds and an RGB array"),
        ([(0, IMAGE), (0, IMAGE)], "frame 1 is at 0 s, after one at 0 s; times must ascend"),
        ([(np.nan, IMAGE)], "frame 0 is at nan s"),
        ([(0, IMAGE / 255)], r"frame 0 is float64 \(4, 4, 3\); RGB arrays are uint8"),
        ([(0, IMAGE[..., 0])], r"frame 0 is uint8 \(4, 4\)"),
        ((np.zeros(3), np.stack([IMAGE, IMAGE])), r"2 images need as many times, got \(3,\)"),
    ],
)
def test_what_are_no_frames_is_refused(frames, message) -> None:
    with pytest.raises(ImderError, match=message):
        list(Video(DecodedFrames(frames), 10).frames())
    with pytest.raises(ImderError, match="an iterable of"):
        DecodedFrames(3)
