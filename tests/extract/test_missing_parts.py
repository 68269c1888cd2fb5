"""What isn't installed is said before any work, and the rest is used."""

from __future__ import annotations

import sys

import pytest

for package in ("soundfile", "av", "transformers"):
    pytest.importorskip(package)

import imder  # noqa: E402
from command_line import imder_  # noqa: E402
from imder.data.formats.load import load_corpus  # noqa: E402
from imder.extract import choose, extractors  # noqa: E402
from imder.extract.choose import usable_recipe  # noqa: E402
from imder.extract.decoded import DecodedSound  # noqa: E402
from imder.extract.manifest import Clip  # noqa: E402
from imder.extract.recipe import AudioRecipe, FaceRecipe, LanguageRecipe, Recipe  # noqa: E402
from imder.types import (  # noqa: E402
    ImderError,
    Modality,
    Spec,
)
from small_imder import small_model  # noqa: E402
from tiny_media import openface_columns, openface_rows, tone, write_manifest, write_openface, write_video  # noqa: E402

RECIPE = Recipe(
    LanguageRecipe("gone", "0", 50, 16),
    FaceRecipe("face", 62, "/gone/face_landmarker.task", "0", 15, "longest"),
    AudioRecipe("mel64", 22050, 512, 2048, 64),
)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network, no cache, no faces."""

    def unreachable(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.model_info", unreachable)
    monkeypatch.setattr("imder.extract.face.model_file.fetch", lambda *_: (_ for _ in ()).throw(ImderError("no route")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("IMDER_FACE_MODEL", raising=False)
    found = choose.find_spec
    monkeypatch.setattr(choose, "find_spec", lambda name: None if name == "ai_edge_litert" else found(name))
    monkeypatch.setattr(extractors, "find_spec", lambda name: None if name == "ai_edge_litert" else found(name))


def test_a_modality_that_cannot_be_had_is_left_out(offline, tmp_path) -> None:
    said: list[str] = []
    clips = [Clip("a", video=tmp_path / "a.mp4")]
    recipe, absent = usable_recipe(RECIPE, clips, said.append)
    assert list(recipe.dims) == ["language", "audio"]
    assert list(absent) == ["vision"]
    assert said == [f"vision will be missing: {absent['vision']}"]
    assert "needs ai_edge_litert: pip install" in said[0]


def test_what_was_asked_for_must_be_there(offline, tmp_path) -> None:
    for clip, message in (
        (Clip("a", video=tmp_path / "a.mp4", text="a day"), "gone"),
        (Clip("a", video=tmp_path / "a.mp4", frames=object()), "needs ai_edge_litert"),
    ):
        with pytest.raises(ImderError, match=message):
            usable_recipe(RECIPE, [clip], print)
    with pytest.raises(ImderError, match="needs ai_edge_litert"):
        usable_recipe(RECIPE.only({"vision"}), [Clip("a", video=tmp_path / "a.mp4")], print)
    sound = Clip("a", sound=DecodedSound(tone(0.1), 22050))
    assert usable_recipe(RECIPE.only({"audio"}), [sound], print) == (RECIPE.only({"audio"}), {})


def test_extract_says_first_what_will_be_missing(offline, tmp_path, capsys, monkeypatch) -> None:
    """A transformer that can't be fetched, and pictures without a program, leave tables and sound."""
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    monkeypatch.setattr("imder.extract.speech.plan.installed", lambda: False)
    write_video(tmp_path / "0.mkv", tone(0.2))
    columns = openface_columns("cues")
    write_openface(tmp_path / "1.csv", openface_rows(4, columns), columns)
    rows = [("id", "video", "text", "openface"), ("a", "0.mkv", "a day", ""), ("b", "0.mkv", "", "1.csv")]
    assert imder_("extract", write_manifest(tmp_path / "m.csv", rows), tmp_path / "store", "--audio", "mel64") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == [
        "language is missing in 1 clips with sound and no text; speech to text",
        "language will be missing",
    ]
    assert lines[2].startswith("vision is missing in 1 videos")
    assert lines[3] == "one command installs all that can be: pip install '.[all]'"
    assert lines[4].startswith("vision: OpenFace")
    assert load_corpus(tmp_path / "store").spec.names == ("vision", "audio")
    rows = [row[:3] for row in rows]  # without the table, sound alone is no corpus
    assert imder_("extract", write_manifest(tmp_path / "m.csv", rows), tmp_path / "none", "--audio", "mel64") == 2
    assert "cannot be fetched" in capsys.readouterr().err


def test_a_prediction_says_what_was_missing(offline, tmp_path) -> None:
    said: list[str] = []
    spec = Spec((Modality("language", 16, 7), Modality("vision", 62, 9), Modality("audio", 64, 300)))
    predictor = imder.Predictor(
        small_model("fast", spec), recipe=RECIPE.to_dict(), transcribe=False, notify=said.append
    )
    path = write_video(tmp_path / "a.mkv", tone(0.3))
    made = predictor.predict_clips([predictor.clip(video=path)])
    assert made.only()["available"] == "audio"
    assert [(name, "needs ai_edge_litert" in remark) for _, name, remark in made.remarks] == [("vision", True)]
    assert len(said) == 1
    recording = predictor.read_recording(video=path)
    assert ("vision", made.remarks[0][2]) in recording.remarks
