"""Predictions of decoded media are those of the files that they were decoded from."""

from __future__ import annotations

import numpy as np
import pytest

av = pytest.importorskip("av")

import imder  # noqa: E402
from command_line import imder_  # noqa: E402
from face_videos import write_frames  # noqa: E402
from imder.extract import extractors  # noqa: E402
from imder.extract.clip import extract_clip  # noqa: E402
from imder.extract.extractor import ClipFeatures, Extractor  # noqa: E402
from imder.extract.extractors import EXTRACTORS  # noqa: E402
from imder.extract.face.video import Video  # noqa: E402
from imder.extract.language import TextEncoder  # noqa: E402
from imder.extract.recipe import Recipe, VisionRecipe  # noqa: E402
from imder.types import ImderError  # noqa: E402
from media_runs import close  # noqa: E402
from tiny_media import tone, write_manifest, write_video, write_wav  # noqa: E402


def colours(clip, recipe, openface):
    """The mean colour of each frame."""
    video = Video(clip.picture_source, 30)
    times, rows = zip(*((time, image.mean(axis=(0, 1)) / 255) for time, image in video.frames()))
    return ClipFeatures(np.array(rows, np.float32), np.array(times), video.frame_seconds, video.seconds)


COLOURS = Extractor(
    "colours",
    "vision",
    recipe=lambda option, max_tokens: VisionRecipe("colours", 3),
    applies=lambda clip, openface: clip.picture_source is not None,
    make=colours,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on sound and on the colours of videos."""
    tmp_path = tmp_path_factory.mktemp("colours")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extractors, "EXTRACTORS", [*EXTRACTORS, COLOURS])
        yield _trained(tmp_path)


def _trained(tmp_path):
    rows = [("id", "video", "audio", "label", "split")]
    for i in range(8):
        images = np.random.default_rng(i).integers(0, 255, (4, 16, 16, 3)).astype(np.uint8)
        write_frames(tmp_path / f"{i}.mp4", np.arange(4) / 10, (16, 16), images=images)
        write_wav(tmp_path / f"{i}.wav", tone(0.3, seed=i))
        rows.append((f"c{i}", f"{i}.mp4", f"{i}.wav", i / 4, "train" if i < 5 else "valid"))
    write_manifest(tmp_path / "m.csv", rows)
    words = ("--language", "none", "--audio", "mel64", "--vision", "colours")
    assert imder_("extract", tmp_path / "m.csv", tmp_path / "store", *words) == 0
    assert imder_("train", tmp_path / "store", "--out", tmp_path / "run", "--preset", "ridge") == 0
    return tmp_path / "run"


def decode(path):
    """The samples of a video's sound and their rate, and its frames with their times, by PyAV alone."""
    with av.open(str(path)) as container:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        pieces = [*container.decode(audio=0)]
    return (np.concatenate([piece.to_ndarray() for piece in pieces], axis=1).T, pieces[0].rate), frames


def test_arrays_are_predicted_as_the_file(run, tmp_path) -> None:
    path = write_video(tmp_path / "v.mkv", tone(1.0, 48000), 48000)
    audio, frames = decode(path)
    predictor = imder.Predictor(run)
    clip = predictor.clip(audio=audio, frames=iter(frames))
    recipe = Recipe.from_dict(predictor.recipe, "run")
    arrays, file = extract_clip(clip, recipe), extract_clip(predictor.clip(video=path), recipe)
    assert not arrays.failures
    assert arrays.features.keys() == file.features.keys() == {"vision", "audio"}
    for name, values in file.features.items():
        np.testing.assert_allclose(arrays.features[name], values, rtol=1e-5, atol=1e-5)
    expected = predictor.predict_clip(video=path, name="v")
    assert expected["available"] == "vision+audio"
    times, images = zip(*frames)
    for given in (iter(frames), (np.array(times), np.stack(images))):
        close(predictor.predict_clip(audio=audio, frames=given, name="v"), expected)
    close(predictor.predict_clip(frames=frames, name="v"), predictor.predict_clip(frames=iter(frames), name="v"))
    windows = predictor.predict_windows(predictor.read_recording(audio=audio, frames=frames, name="v"), 0.5, 0.25)
    of_file = predictor.predict_windows(predictor.read_recording(video=path), 0.5, 0.25)
    for one, other in zip(windows, of_file, strict=True):
        close({k: v for k, v in one.items() if "share" not in k}, {k: v for k, v in other.items() if "share" not in k})


def test_what_a_clip_cannot_be_made_of(run, predictor) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    colourful = imder.Predictor(run)
    for wrong, message in (
        (
            lambda: colourful.predict_clip(audio=np.zeros(9)),
            r"a file or a pair \(samples, rate\) is needed, got ndarray",
        ),
        (lambda: colourful.predict_clip(audio=(np.zeros(9), 0)), "whole number of samples"),
        (
            lambda: colourful.predict_clip(frames=[(0, image)], video=run.parent / "0.mp4"),
            "a video file or frames, not both",
        ),
        (lambda: colourful.predict_clip(frames=[image]), "vision: frames: frame 0 is not a pair"),
        (lambda: predictor.predict_clip(frames=[(0, image)]), "frames: .* reads columns of OpenFace"),
    ):
        with pytest.raises(ImderError, match=message):
            wrong()


def test_a_warm_predictor_loads_nothing_more(run, predictor, monkeypatch) -> None:
    """What clips need is loaded by `warm_up`, which draws no random numbers that a prediction has."""
    cold = imder.Predictor(run)
    clip = {"audio": (tone(0.3), 22050), "name": "a"}
    expected = cold.predict_clip(**clip)
    warm = imder.Predictor(run)
    warm.warm_up()
    assert warm.predict_clip(**clip) == expected
    predictor.warm_up()  # language by a transformer, and tables of OpenFace
    made = []
    monkeypatch.setattr(TextEncoder, "__init__", lambda *words: made.append(words))
    assert predictor.predict_clip(text="a day")["available"] == "language"
    assert not made
