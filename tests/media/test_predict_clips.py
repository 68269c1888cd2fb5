"""``imder predict`` of clips: the predictions of media are those of a store made from them."""

import numpy as np
import pytest
import torch

import imder
from command_line import imder_, rows_of
from imder.data.formats.load import load_corpus
from imder.types import ImderError
from media_runs import WORDS, close
from tiny_media import (
    tone,
    write_manifest,
    write_video,
)


@pytest.mark.parametrize("here", ["audio", "text", "openface", "audio+text", "audio+text+openface"])
def test_a_clip_is_predicted_as_from_a_store(media, tmp_path, here, capsys):
    """The same files through ``imder extract`` and through ``imder predict``: no modality more, none less, one answer."""
    source = {"audio": media / "21.wav", "text": WORDS[1], "openface": media / "21.csv"}
    cells = [source[name] if name in here.split("+") else "" for name in source]
    extra = ("x", media / "20.wav", "a", media / "20.csv")  # a corpus has two modalities, a clip may have one
    manifest = write_manifest(
        tmp_path / "m.csv", [("id", *source), ("21" if here != "text" else "clip", *cells), extra]
    )
    options = ("--language", media / "bert", "--audio", "mel64", "--vision", "pose+aus")
    assert imder_("extract", manifest, tmp_path / "store", *options) == 0
    assert imder_("predict", media / "run", tmp_path / "store", "--out", tmp_path / "store.csv") == 0
    given = [word for name, value in zip(source, cells) if value for word in (f"--{name}", value)]
    assert imder_("predict", media / "run", *given, "--out", tmp_path / "clip.csv") == 0
    (made,) = rows_of(tmp_path / "clip.csv")
    names = {"language": "text", "vision": "openface", "audio": "audio"}
    assert made["recovered"] == "+".join(name for name, key in names.items() if key not in here.split("+"))
    assert made["recovered"] == made["missing"]
    assert float(made["recovery_weight"]) == 0.5
    close(made, rows_of(tmp_path / "store.csv")[0])
    said = " ".join(capsys.readouterr().out.split())
    assert f"prediction {float(made['prediction']):.3f}" in said
    assert f"90 % interval {float(made['low']):.3f} to {float(made['high']):.3f}" in said


def test_a_tuned_encoder_reads_the_text_of_a_clip(media, tuned, tmp_path):
    words = ("predict", tuned, media / "numbers", "--split", "test", "--out", tmp_path / "store.csv")
    assert imder_(*words) == 0
    expected = rows_of(tmp_path / "store.csv")[0]
    found = imder.Predictor(tuned).predict_clip(audio=media / "20.wav", text=WORDS[0], openface=media / "20.csv")
    assert found["prediction"] == pytest.approx(float(expected["prediction"]), abs=1e-5)
    model = imder.Predictor(tuned).model
    tokens = load_corpus(media / "numbers")["test"].tokens
    untuned = load_corpus(media / "numbers")["test"].features["language"]
    ids = torch.from_numpy(np.array(tokens[0][:, 0], np.int64))[None]
    with torch.inference_mode():
        read = model.language.module(input_ids=ids).last_hidden_state[0].numpy()
    assert np.abs(read - untuned[0]).max() > 0.1


def test_a_manifest_is_predicted_as_its_store(media, tmp_path, predictor):
    assert imder_("predict", media / "run", media / "numbers", "--split", "test", "--out", tmp_path / "a.csv") == 0
    words = ("predict", media / "run", media / "numbers.csv", "--split", "test", "--batch-size", "4")
    assert imder_(*words, "--out", tmp_path / "b.csv") == 0
    one, two = rows_of(tmp_path / "a.csv"), rows_of(tmp_path / "b.csv")
    assert [row["id"] for row in two] == [f"c{i}" for i in range(20, 24)]
    for a, b in zip(one, two, strict=True):
        assert (b["missing"], b["recovered"]) == ("", "")
        close(b, a)
    python = predictor.predict_clips(media / "numbers.csv", split="test")
    assert [row["prediction"] for row in python.rows] == pytest.approx(
        [float(row["prediction"]) for row in one], abs=1e-5
    )


def test_mixed_patterns_and_bad_files(media, tmp_path, capsys):
    """One bad file costs its modality, a clip without anything only itself; what is said is as of ``imder extract``."""
    (tmp_path / "empty.wav").touch()
    write_video(tmp_path / "mute.mp4")
    rows = [
        ("id", "audio", "text", "openface", "video"),
        ("all", media / "0.wav", "a day", media / "0.csv", ""),
        ("bad sound", "empty.wav", "a day", "", ""),
        ("no word", media / "0.wav", "", "", ""),
        ("gone", "gone.wav", "", "", ""),
        ("mute", "", "", "", "mute.mp4"),
    ]
    manifest, out = write_manifest(tmp_path / "m.csv", rows), tmp_path / "p.csv"
    assert imder_("predict", media / "run", manifest, "--out", out) == 3
    found = {row["id"]: (row["available"], row["recovered"]) for row in rows_of(out)}
    assert found == {
        "all": ("language+vision+audio", ""),
        "bad sound": ("language", "vision+audio"),
        "no word": ("audio", "language+vision"),
    }
    failed = {(row["id"], row["modality"]): row["reason"] for row in rows_of(tmp_path / "p-failures.csv")}
    assert set(failed) == {("bad sound", "audio"), ("gone", "audio"), ("mute", "all")}
    assert "the file is empty" in failed["bad sound", "audio"]
    assert "a video without sound" in failed["mute", "all"]
    assert "3 failures in" in " ".join(capsys.readouterr().out.split())
    # what a clip says doesn't hang on those beside it
    write_manifest(tmp_path / "m.csv", [rows[0], rows[3]])
    assert imder_("predict", media / "run", manifest, "--out", tmp_path / "q.csv") == 0
    close(rows_of(tmp_path / "q.csv")[0], rows_of(out)[2])
    assert imder_("predict", media / "run", manifest, "--out", out) == 0
    assert not (tmp_path / "p-failures.csv").exists()  # nothing of the first time is left
    write_manifest(tmp_path / "m.csv", [rows[0], rows[4]])
    assert imder_("predict", media / "run", manifest, "--out", tmp_path / "none.csv") == 2
    assert "nothing could be predicted" in capsys.readouterr().err
    assert not (tmp_path / "none.csv").exists()


def test_python(media, predictor):
    row = predictor.predict_clip(audio=media / "3.wav", text=WORDS[3], name="c3")
    assert (row["id"], row["available"], row["recovered"]) == ("c3", "language+audio", "vision")
    assert row["low"] <= row["prediction"] <= row["high"]
    again = predictor.predict_clip(audio=media / "3.wav", text=WORDS[3], name="c3", seed=1)
    assert again["prediction"] != row["prediction"]  # another draw of what is missing
    known = imder.Predictor(predictor.model, recipe=load_corpus(media / "numbers").recipe)
    assert known.predict_clip(audio=media / "3.wav", text=WORDS[3], name="c3") == row


def test_python_is_told_what_is_wrong(media, predictor):
    for wrong, message in (
        (lambda: predictor.predict_clips([{"text": "a day"}]), r"made with Predictor\.clip"),
        (lambda: predictor.predict_clip(text=3), "a text is a string, got 3"),
        (lambda: predictor.predict_clips([]), "no clips"),
        (lambda: predictor.predict_clips(media / "numbers.csv", split="tset"), "'tset'; there are test, train, valid"),
    ):
        with pytest.raises(ImderError, match=message):
            wrong()


def test_the_sound_of_a_video(media, tmp_path, predictor):
    write_video(tmp_path / "v.mkv", tone(0.3))
    found = predictor.predict_clips([predictor.clip(video=tmp_path / "v.mkv")])
    assert found.only()["available"] == "audio"
    assert any("needs a table of OpenFace" in remark for _, _, remark in found.remarks)


def test_a_system_that_recovers_nothing_says_missing(media, capsys):
    assert imder_("predict", media / "ridge", "--audio", media / "1.wav") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "missing language, vision" in said
    assert "90 % set" in said
    assert "recovered" not in said
