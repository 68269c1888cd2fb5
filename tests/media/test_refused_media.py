"""Runs, options and files that ``imder predict`` of media refuses."""

import json
import os

import pytest

from command_line import imder_
from imder.types import ImderError
from tiny_media import (
    tiny_bert,
)


def test_a_run_without_a_recipe(media, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    for file in (media / "run").iterdir():
        if file.is_file():
            (run / file.name).write_bytes(file.read_bytes())
    about = json.loads((run / "trained_on.json").read_text())
    del about["recipe"]
    (run / "trained_on.json").write_text(json.dumps(about))
    assert imder_("predict", run, "--audio", media / "0.wav") == 2
    error = capsys.readouterr().err
    assert "was trained on features that `imder extract` didn't make" in error
    assert error.count("\n") == 1
    assert imder_("predict", run, media / "numbers", "--out", tmp_path / "p.csv") == 0  # a corpus as ever


def test_another_recipe_is_refused(media, tmp_path, predictor, capsys):
    options = ("--language", media / "bert", "--audio", "librosa33", "--vision", "pose+aus")
    assert imder_("extract", media / "numbers.csv", tmp_path / "other", *options) == 0
    assert imder_("predict", media / "run", tmp_path / "other", "--out", tmp_path / "p.csv") == 2
    with pytest.raises(ImderError, match="audio: kind is mel64 in the first and librosa33 in the second"):
        predictor.predict(tmp_path / "other")
    tiny_bert(tmp_path / "bert", seed=1)
    options = ("--language", tmp_path / "bert", "--audio", "mel64", "--vision", "pose+aus")
    assert imder_("extract", media / "numbers.csv", tmp_path / "words", *options) == 0
    with pytest.raises(
        ImderError, match=r"follow another recipe than those .*run was trained on .language: the model is"
    ):
        predictor.predict(tmp_path / "words")
    capsys.readouterr()
    assert imder_("predict", media / "run", "--text", "a", "--language", tmp_path / "bert") == 2
    assert "differ from the recipe's" in capsys.readouterr().err
    os.rename(media / "bert", tmp_path / "moved")
    try:
        from imder.extract.language import encoder_of

        encoder_of.cache_clear()
        assert imder_("predict", media / "run", "--text", "a", "--language", tmp_path / "moved") == 0
    finally:
        os.rename(tmp_path / "moved", media / "bert")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "say what to predict"),
        (("{numbers}", "--text", "a"), "not both"),
        (("{numbers}",), "say where the predictions go with --out"),
        (("{numbers}.csv",), "say where the predictions go with --out"),
        (("--audio", "gone.wav"), "gone.wav: there is no such file"),
        (("--text", " "), "the text is empty"),
        (("--audio", "{numbers}.csv"), "neither soundfile nor FFmpeg can read it"),
        (("--openface", "{run}/config.yaml"), "none of its columns is OpenFace's"),
        (("--text", "a", "--window", "4", "--out", "s.csv"), "windows need a modality with times"),
        (("--audio", "{long}", "--window", "4"), "where the time series goes"),
        (("--audio", "{long}", "--hop", "4"), "give --window too"),
        (("--audio", "{long}", "--window", "0", "--out", "s.csv"), "window"),
        (
            ("--text", "a", "--transcript", "t.srt", "--window", "4", "--out", "s.csv"),
            "give either a text or a transcript",
        ),
        (("{numbers}.csv", "--window", "4", "--out", "s.csv"), "--window is for one recording"),
        (("--text", "a", "--level", "2"), "level"),
        (("--text", "a", "--language", "none"), "the text is not read with language 'none'"),
        (("--text", "a", "--openface-program", "gone"), "no program FeatureExtraction there"),
    ],
)
def test_mistakes(media, long, words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    known = {"numbers": media / "numbers", "run": media / "run", "long": media / "long.wav"}
    assert imder_("predict", media / "run", *(word.format(**known) for word in words)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.splitlines()[-1].startswith("imder: error: ")
    assert not list(tmp_path.iterdir())
