"""The real models on a photograph that matplotlib brings along: `make slow`, or IMDER_FACE_MODEL=FILE."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

for package in ("av", "ai_edge_litert", "PIL"):
    pytest.importorskip(package)
MODEL = os.environ.get("IMDER_FACE_MODEL", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path(MODEL).is_file(), reason="IMDER_FACE_MODEL names no file (tools/face_model.py)"),
]

from matplotlib.cbook import get_sample_data  # noqa: E402
from PIL import Image  # noqa: E402

from command_line import imder_  # noqa: E402
from face_videos import write_frames  # noqa: E402
from imder.data.formats.load import load_corpus  # noqa: E402
from imder.extract.face.blendshapes import NAMES  # noqa: E402
from imder.extract.face.extractor import bundle_of, face_recipe  # noqa: E402
from imder.extract.face.features import FACE, measure  # noqa: E402
from imder.extract.face.tracker import Tracker  # noqa: E402
from tiny_media import tone, write_wav  # noqa: E402

GREY = (90, 90, 90)


@pytest.fixture(scope="module")
def bundle():
    recipe = face_recipe("face")
    return bundle_of(recipe.model, recipe.fingerprint)


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    """A person in uniform, smiling slightly, 256 x 300."""
    with get_sample_data("grace_hopper.jpg", asfileobj=True) as file:
        return Image.open(file).convert("RGB").resize((256, 300))


def placed(*faces: tuple[Image.Image, int, int], size: tuple[int, int] = (640, 480)) -> np.ndarray:
    """A grey picture with others pasted in at (left, top)."""
    whole = Image.new("RGB", size, GREY)
    for face, x, y in faces:
        whole.paste(face, (x, y))
    return np.array(whole)


def measured(bundle, image: np.ndarray) -> dict[str, float]:
    (face,) = Tracker(bundle)(image)
    return dict(zip(FACE, measure(bundle, face.landmarks, image.shape[1], image.shape[0])))


def test_a_photograph_has_one_face_of_plausible_features(bundle, portrait) -> None:
    values = measured(bundle, placed((portrait, 190, 90)))
    shapes = np.array([values[name] for name in NAMES])
    assert ((shapes >= 0) & (shapes <= 1)).all()
    assert max(abs(values[name]) for name in ("headPitch", "headYaw", "headRoll")) < 0.5
    assert 30 < values["headZ"] < 150
    assert values["mouthSmileLeft"] + values["mouthSmileRight"] > 2 * values["jawOpen"]
    assert max(abs(values[name]) for name in ("gazeLeftX", "gazeLeftY", "gazeRightX", "gazeRightY")) < 0.6


@pytest.mark.parametrize("degrees", [-30, -15, 15, 30])
def test_a_turned_photograph_has_a_turned_head_and_the_same_expression(bundle, portrait, degrees) -> None:
    upright = measured(bundle, placed((portrait, 190, 90)))
    turned = Image.fromarray(placed((portrait, 190, 90))).rotate(-degrees, Image.Resampling.BICUBIC, fillcolor=GREY)
    values = measured(bundle, np.array(turned))
    assert values["headRoll"] - upright["headRoll"] == pytest.approx(np.radians(degrees), abs=0.07)
    assert np.mean([abs(values[name] - upright[name]) for name in NAMES]) < 0.05


def test_a_shifted_and_a_larger_face_have_moved(bundle, portrait) -> None:
    middle = measured(bundle, placed((portrait, 190, 90)))
    right = measured(bundle, placed((portrait, 330, 90)))
    near = measured(bundle, placed((portrait.resize((384, 450)), 128, 15)))
    assert right["headX"] > middle["headX"] + 5
    assert near["headZ"] == pytest.approx(middle["headZ"] / 1.5, rel=0.15)


def test_a_mirrored_face_has_mirrored_features(bundle, portrait) -> None:
    image = placed((portrait, 190, 90))
    values, mirrored = measured(bundle, image), measured(bundle, np.ascontiguousarray(image[:, ::-1]))
    assert mirrored["headYaw"] == pytest.approx(-values["headYaw"], abs=0.1)
    assert mirrored["headRoll"] == pytest.approx(-values["headRoll"], abs=0.05)
    for left in (name for name in NAMES if name.endswith("Left")):
        assert mirrored[left] == pytest.approx(values[left.replace("Left", "Right")], abs=0.25)


def test_a_face_is_lost_at_a_cut_and_noise_has_none(bundle, portrait) -> None:
    rng = np.random.default_rng(0)
    tracker = Tracker(bundle)
    assert [len(tracker(placed((portrait, 190 + 2 * i, 90)))) for i in range(6)] == [1] * 6
    textures = [rng.integers(0, 255, (480, 640, 3), dtype=np.uint8) for _ in range(6)]
    assert [len(tracker(image)) for image in textures] == [0] * 6


def test_a_store_of_videos_is_made_with_the_options_of_the_command(tmp_path, portrait, capsys) -> None:
    """Two people, of whom the right one leaves; a default without OpenFace."""
    clips = tmp_path / "clips"
    clips.mkdir()
    mirrored = portrait.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    images = [placed((portrait, 30 + i, 90), *([(mirrored, 350, 90)] if i < 12 else [])) for i in range(20)]
    write_frames(clips / "a.mp4", np.arange(20) / 10, (640, 480), images=images)
    write_frames(clips / "b.mp4", np.arange(5) / 10, (640, 480), images=[placed()] * 5)
    for name in "ab":
        write_wav(clips / f"{name}.wav", tone(1))
    assert imder_("extract", clips, tmp_path / "store", "--language", "none", "--audio", "mel64") == 0
    assert "vision: face, 62 features a frame, at most 15 frames a second" in capsys.readouterr().out
    corpus = load_corpus(tmp_path / "store")
    assert corpus["all"][0].features["vision"].shape == (20, 62)
    assert corpus["all"].present.tolist() == [[True, True], [False, True]]
    remarks = (tmp_path / "store" / "remarks.csv").read_text()
    assert "2 faces, used the one tracked longest (20 of 20 frames)" in remarks
    assert "b,vision,no face" in remarks
    options = ("--language", "none", "--audio", "mel64", "--vision", "face+landmarks", "--person", "1", "--fps", "5")
    assert imder_("extract", clips, tmp_path / "other", *options, "--face-model", MODEL) == 0
    other = load_corpus(tmp_path / "other")
    assert other["all"][0].features["vision"].shape == (6, 62 + 3 * 478)
    assert other.recipe["vision"]["person"] == "1"
    assert other.recipe["vision"]["fps"] == 5
