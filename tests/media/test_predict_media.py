"""``imder predict`` of clips and recordings: what is predicted from media is what is predicted from a store of them."""

import json
import os

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from command_line import imder_, rows_of
from tiny_media import (
    openface_columns,
    openface_rows,
    tiny_bert,
    tone,
    write_manifest,
    write_openface,
    write_video,
    write_wav,
)

for package in ("librosa", "soundfile", "av", "transformers"):
    pytest.importorskip(package)

import imder  # noqa: E402
from imder.data.formats.load import load_corpus  # noqa: E402
from imder.extract.manifest import Clip  # noqa: E402
from imder.extract.media import Sound  # noqa: E402
from imder.media.plot import _cells, plot_series  # noqa: E402
from imder.media.recording import read_recording  # noqa: E402
from imder.media.transcript import read_transcript, text_between  # noqa: E402
from imder.media.windows import window_bounds  # noqa: E402
from imder.types import ImderError  # noqa: E402

SMALL = [
    *("--model.encoder.width", "8", "--model.encoder.steps", "6", "--model.recovery.network.widths", "[8]"),
    *("--model.recovery.network.heads", "2", "--model.recovery.network.embedding", "8"),
    *("--model.recovery.evaluations", "2", "--model.refinement.channels", "8", "--model.refinement.blocks", "1"),
    *("--model.refinement.reduction", "4", "--model.num_samples", "2", "--model.fusion.hidden", "8"),
    *("--training.stage1.max_epochs", "1", "--training.score.max_epochs", "1", "--training.recovery.max_epochs", "1"),
    *("--engine.accelerator", "cpu"),
]
WORDS = ("what a good day", "a day", "good days", "abc")
FPS = 30


def close(one, other):
    """Whether two predictions say the same: names and texts exactly, numbers but for rounding."""
    assert set(one) == set(other)
    for key, value in one.items():
        try:
            assert float(value) == pytest.approx(float(other[key]), abs=1e-5), key
        except ValueError:
            assert value == other[key], key


def table(path, frames, seed=0, untracked=()):
    """``untracked``: frames in which the face is lost."""
    columns = openface_columns("pose+aus")
    rows = openface_rows(frames, columns, seed=seed)
    rows[list(untracked), columns.index("success")] = 0
    return write_openface(path, rows, columns)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Clips with everything, stores of them for both kinds of labels, and a trained run of each."""
    place = tmp_path_factory.mktemp("media")
    bert = tiny_bert(place / "bert")
    rows = [("id", "audio", "text", "openface", "label", "split")]
    for i in range(24):
        write_wav(place / f"{i}.wav", tone(0.1 + 0.01 * i, seed=i))
        table(place / f"{i}.csv", 3 + i % 3, seed=i)
        split = "train" if i < 14 else "valid" if i < 20 else "test"
        rows.append((f"c{i}", f"{i}.wav", WORDS[i % 4], f"{i}.csv", (i % 5) - 2.0, split))
    write_manifest(place / "numbers.csv", rows)
    classes = [rows[0], *((*row[:4], ("sad", "glad")[i % 2], row[5]) for i, row in enumerate(rows[1:]))]
    write_manifest(place / "classes.csv", classes)
    options = ("--language", bert, "--audio", "mel64", "--vision", "pose+aus")
    for name in ("numbers", "classes"):
        assert imder_("extract", place / f"{name}.csv", place / name, *options) == 0
    assert imder_("train", place / "numbers", "--out", place / "run", *SMALL) == 0
    assert imder_("train", place / "classes", "--out", place / "ridge", "--preset", "ridge") == 0
    weights = load_file(place / "run" / "model.safetensors")
    (mix,) = (name for name in weights if name.split(".")[-1] == "branch_weight")
    weights[mix][:] = 0.5  # so that recoveries count, whatever validation found: their noise must be the same too
    save_file(weights, place / "run" / "model.safetensors")
    return place


@pytest.fixture(scope="module")
def predictor(place):
    return imder.Predictor(place / "run")


@pytest.fixture(scope="module")
def long(place):
    """6.25 s of sound and of a face that is lost from 2 s to 4.5 s."""
    write_wav(place / "long.wav", tone(6.25))
    table(place / "long.csv", 187, untracked=range(60, 135))
    return {"audio": place / "long.wav", "openface": place / "long.csv"}


# Clips.


@pytest.mark.parametrize("here", ["audio", "text", "openface", "audio+text", "audio+text+openface"])
def test_a_clip_is_predicted_as_from_a_store(place, tmp_path, here, capsys):
    """The same files through ``imder extract`` and through ``imder predict``: no modality more, none less, one answer."""
    source = {"audio": place / "21.wav", "text": WORDS[1], "openface": place / "21.csv"}
    cells = [source[name] if name in here.split("+") else "" for name in source]
    extra = ("x", place / "20.wav", "a", place / "20.csv")  # a corpus has two modalities, a clip may have one
    manifest = write_manifest(
        tmp_path / "m.csv", [("id", *source), ("21" if here != "text" else "clip", *cells), extra]
    )
    options = ("--language", place / "bert", "--audio", "mel64", "--vision", "pose+aus")
    assert imder_("extract", manifest, tmp_path / "store", *options) == 0
    assert imder_("predict", place / "run", tmp_path / "store", "--out", tmp_path / "store.csv") == 0
    given = [word for name, value in zip(source, cells) if value for word in (f"--{name}", value)]
    assert imder_("predict", place / "run", *given, "--out", tmp_path / "clip.csv") == 0
    (made,) = rows_of(tmp_path / "clip.csv")
    names = {"language": "text", "vision": "openface", "audio": "audio"}
    assert made["recovered"] == "+".join(name for name, key in names.items() if key not in here.split("+"))
    assert made["recovered"] == made["missing"]
    assert float(made["recovery_weight"]) == (0 if made["missing"] == "" else 0.5)
    close(made, rows_of(tmp_path / "store.csv")[0])
    said = " ".join(capsys.readouterr().out.split())
    assert f"prediction {float(made['prediction']):.3f}" in said
    assert f"90 % interval {float(made['low']):.3f} to {float(made['high']):.3f}" in said


@pytest.fixture(scope="module")
def tuned(place):
    """A run whose transformer learned in stage 1: what the store's recipe gives is no longer what it reads."""
    words = ("--preset", "late-fusion", "--language-encoder", place / "bert", "--training.stage1.max_epochs", "2")
    rate = ("--training.language_encoder.learning_rate", "0.05", "--engine.accelerator", "cpu")
    assert imder_("train", place / "numbers", "--out", place / "tuned", *words, *rate) == 0
    return place / "tuned"


def test_a_tuned_encoder_reads_the_text_of_a_clip(place, tuned, tmp_path):
    words = ("predict", tuned, place / "numbers", "--split", "test", "--out", tmp_path / "store.csv")
    assert imder_(*words) == 0
    expected = rows_of(tmp_path / "store.csv")[0]
    found = imder.Predictor(tuned).predict_clip(audio=place / "20.wav", text=WORDS[0], openface=place / "20.csv")
    assert found["prediction"] == pytest.approx(float(expected["prediction"]), abs=1e-5)
    model = imder.Predictor(tuned).model
    tokens = load_corpus(place / "numbers")["test"].tokens
    untuned = load_corpus(place / "numbers")["test"].features["language"]
    ids = torch.from_numpy(np.array(tokens[0][:, 0], np.int64))[None]
    with torch.inference_mode():
        read = model.language.module(input_ids=ids).last_hidden_state[0].numpy()
    assert np.abs(read - untuned[0]).max() > 0.1


def test_a_tuned_encoder_reads_what_is_said_in_a_window(place, tuned, long):
    predictor = imder.Predictor(tuned)
    recording = predictor.read_recording(**long, text=WORDS[1])
    (whole,) = predictor.predict_windows(recording, 60, 60)
    clip = predictor.predict_clip(**long, text=WORDS[1])
    assert whole["prediction"] == pytest.approx(clip["prediction"], abs=1e-5)


def test_a_manifest_is_predicted_as_its_store(place, tmp_path, predictor):
    assert imder_("predict", place / "run", place / "numbers", "--split", "test", "--out", tmp_path / "a.csv") == 0
    words = ("predict", place / "run", place / "numbers.csv", "--split", "test", "--batch-size", "4")
    assert imder_(*words, "--out", tmp_path / "b.csv") == 0
    one, two = rows_of(tmp_path / "a.csv"), rows_of(tmp_path / "b.csv")
    assert [row["id"] for row in two] == [f"c{i}" for i in range(20, 24)]
    for a, b in zip(one, two, strict=True):
        assert (b["missing"], b["recovered"]) == ("", "")
        close(b, a)
    python = predictor.predict_clips(place / "numbers.csv", split="test")
    assert [row["prediction"] for row in python.rows] == pytest.approx(
        [float(row["prediction"]) for row in one], abs=1e-5
    )


def test_mixed_patterns_and_bad_files(place, tmp_path, capsys):
    """One bad file costs its modality, a clip without anything only itself; what is said is as of ``imder extract``."""
    (tmp_path / "empty.wav").touch()
    write_video(tmp_path / "mute.mp4")
    rows = [
        ("id", "audio", "text", "openface", "video"),
        ("all", place / "0.wav", "a day", place / "0.csv", ""),
        ("bad sound", "empty.wav", "a day", "", ""),
        ("no word", place / "0.wav", "", "", ""),
        ("gone", "gone.wav", "", "", ""),
        ("mute", "", "", "", "mute.mp4"),
    ]
    manifest, out = write_manifest(tmp_path / "m.csv", rows), tmp_path / "p.csv"
    assert imder_("predict", place / "run", manifest, "--out", out) == 3
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
    assert imder_("predict", place / "run", manifest, "--out", tmp_path / "q.csv") == 0
    close(rows_of(tmp_path / "q.csv")[0], rows_of(out)[2])
    assert imder_("predict", place / "run", manifest, "--out", out) == 0
    assert not (tmp_path / "p-failures.csv").exists()  # nothing of the first time is left
    write_manifest(tmp_path / "m.csv", [rows[0], rows[4]])
    assert imder_("predict", place / "run", manifest, "--out", tmp_path / "none.csv") == 2
    assert "nothing could be predicted" in capsys.readouterr().err
    assert not (tmp_path / "none.csv").exists()


def test_python(place, predictor):
    row = predictor.predict_clip(audio=place / "3.wav", text=WORDS[3], name="c3")
    assert (row["id"], row["available"], row["recovered"]) == ("c3", "language+audio", "vision")
    assert row["low"] <= row["prediction"] <= row["high"]
    again = predictor.predict_clip(audio=place / "3.wav", text=WORDS[3], name="c3", seed=1)
    assert again["prediction"] != row["prediction"]  # another draw of what is missing
    known = imder.Predictor(predictor.model, recipe=load_corpus(place / "numbers").recipe)
    assert known.predict_clip(audio=place / "3.wav", text=WORDS[3], name="c3") == row


def test_python_is_told_what_is_wrong(place, predictor):
    for wrong, message in (
        (lambda: predictor.predict_clips([{"text": "a day"}]), r"made with Predictor\.clip"),
        (lambda: predictor.predict_clip(text=3), "a text is a string, got 3"),
        (lambda: predictor.predict_clips([]), "no clips"),
        (lambda: predictor.predict_clips(place / "numbers.csv", split="tset"), "'tset'; there are test, train, valid"),
    ):
        with pytest.raises(ImderError, match=message):
            wrong()


def test_the_sound_of_a_video(place, tmp_path, predictor):
    write_video(tmp_path / "v.mkv", tone(0.3))
    found = predictor.predict_clips([predictor.clip(video=tmp_path / "v.mkv")])
    assert found.only()["available"] == "audio"
    assert any("needs a table of OpenFace" in remark for _, _, remark in found.remarks)


def test_a_system_that_recovers_nothing_says_missing(place, capsys):
    assert imder_("predict", place / "ridge", "--audio", place / "1.wav") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "missing language, vision" in said
    assert "90 % set" in said
    assert "recovered" not in said


# What is refused.


def test_a_run_without_a_recipe(place, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    for file in (place / "run").iterdir():
        if file.is_file():
            (run / file.name).write_bytes(file.read_bytes())
    about = json.loads((run / "trained_on.json").read_text())
    del about["recipe"]
    (run / "trained_on.json").write_text(json.dumps(about))
    assert imder_("predict", run, "--audio", place / "0.wav") == 2
    error = capsys.readouterr().err
    assert "was trained on features that `imder extract` didn't make" in error
    assert error.count("\n") == 1
    assert imder_("predict", run, place / "numbers", "--out", tmp_path / "p.csv") == 0  # a corpus as ever


def test_another_recipe_is_refused(place, tmp_path, predictor, capsys):
    options = ("--language", place / "bert", "--audio", "librosa33", "--vision", "pose+aus")
    assert imder_("extract", place / "numbers.csv", tmp_path / "other", *options) == 0
    assert imder_("predict", place / "run", tmp_path / "other", "--out", tmp_path / "p.csv") == 2
    with pytest.raises(ImderError, match="audio: kind is mel64 in the first and librosa33 in the second"):
        predictor.predict(tmp_path / "other")
    tiny_bert(tmp_path / "bert", seed=1)
    options = ("--language", tmp_path / "bert", "--audio", "mel64", "--vision", "pose+aus")
    assert imder_("extract", place / "numbers.csv", tmp_path / "words", *options) == 0
    with pytest.raises(
        ImderError, match=r"follow another recipe than those .*run was trained on .language: the model is"
    ):
        predictor.predict(tmp_path / "words")
    capsys.readouterr()
    assert imder_("predict", place / "run", "--text", "a", "--language", tmp_path / "bert") == 2
    assert "are not those that the recipe was made with" in capsys.readouterr().err
    os.rename(place / "bert", tmp_path / "moved")
    try:
        from imder.extract.language import encoder_of

        encoder_of.cache_clear()
        assert imder_("predict", place / "run", "--text", "a", "--language", tmp_path / "moved") == 0
    finally:
        os.rename(tmp_path / "moved", place / "bert")


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
        (("--text", "a", "--window", "4", "--out", "s.csv"), "windows need something that lasts"),
        (("--audio", "{long}", "--window", "4"), "where the time series goes"),
        (("--audio", "{long}", "--hop", "4"), "give --window too"),
        (("--audio", "{long}", "--window", "0", "--out", "s.csv"), "window"),
        (("--text", "a", "--transcript", "t.srt", "--window", "4", "--out", "s.csv"), "give one of them"),
        (("{numbers}.csv", "--window", "4", "--out", "s.csv"), "--window is for one recording"),
        (("--text", "a", "--level", "2"), "level"),
        (("--text", "a", "--language", "none"), "the text is not read with language 'none'"),
        (("--text", "a", "--openface-program", "gone"), "there is no program FeatureExtraction"),
    ],
)
def test_mistakes(place, long, words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    known = {"numbers": place / "numbers", "run": place / "run", "long": place / "long.wav"}
    assert imder_("predict", place / "run", *(word.format(**known) for word in words)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.splitlines()[-1].startswith("imder: error: ")
    assert not list(tmp_path.iterdir())


# Windows.


def test_a_window_of_everything_is_the_clip(predictor, long):
    recording = predictor.read_recording(**long, text=WORDS[0])
    (row,) = predictor.predict_windows(recording, 100, 1)
    clip = predictor.predict_clip(**long, text=WORDS[0])
    assert (row.pop("start"), row.pop("end")) == (0, recording.seconds)
    assert clip.pop("id") == "long"
    assert row.pop("share_audio") == pytest.approx(1, abs=0.01)
    assert row.pop("share_vision") == pytest.approx(3.75 / 6.25, abs=0.01)
    close(row, clip)


def test_a_window_sees_its_own_frames_alone(predictor, long, tmp_path):
    """The table cut by hand to the rows of a window is a clip of which the prediction is the window's."""
    recording = predictor.read_recording(openface=long["openface"])
    rows = predictor.predict_windows(recording, 1.0, 1.0)
    lines = long["openface"].read_text().splitlines()
    (tmp_path / "long.csv").write_text("\n".join([lines[0], *lines[1 + FPS : 1 + 2 * FPS]]) + "\n")
    clip = predictor.predict_clip(openface=tmp_path / "long.csv")
    assert rows[1]["prediction"] == pytest.approx(clip["prediction"], abs=1e-5)
    assert rows[1]["prediction"] != rows[0]["prediction"]


def test_modalities_come_and_go(place, long, tmp_path, capsys):
    out = tmp_path / "series.csv"
    words = ("predict", place / "run", "--audio", long["audio"], "--openface", long["openface"])
    assert imder_(*words, "--window", "2", "--hop", "0.5", "--out", out) == 0
    rows = rows_of(out)
    first = ["start", "end", "available", "missing", "recovered", "recovery_weight", "text"]
    first += ["prediction", "std", "q05", "q95", "low", "high", "share_vision", "share_audio"]
    assert list(rows[0]) == first
    # from 0 to 4 s every half second, and one that ends with the recording
    assert [float(row["start"]) for row in rows] == pytest.approx([*np.arange(0, 4.5, 0.5), 4.25], abs=1e-4)
    assert [float(row["end"]) for row in rows][-1] == pytest.approx(6.25, abs=1e-4)
    seen = [float(row["start"]) for row in rows if "vision" in row["available"]]
    assert seen == pytest.approx(
        [0, 0.5, 1, 1.5, 3, 3.5, 4, 4.25], abs=1e-4
    )  # lost from 2 s to 4.5 s: those from 2 and 2.5 s see no frame
    assert rows[4]["available"] == "audio"
    assert rows[4]["recovered"] == "language+vision"
    assert all(float(row["low"]) <= float(row["high"]) for row in rows)
    assert (tmp_path / "series.png").read_bytes().startswith(b"\x89PNG")
    said = " ".join(capsys.readouterr().out.split())
    assert "6.2 s, 10 windows: language in 0, vision in 8, audio in 10" in said


def test_a_face_seen_for_an_instant_is_missing(place, predictor, long, tmp_path, capsys):
    """A modality counts where it covers enough of a window, and the table says how much that is."""
    recording = predictor.read_recording(**long)
    shares = [recording.shares(t, t + 2)["vision"] for t in (0, 1, 1.9, 2, 3.5, 4.2)]
    assert shares == pytest.approx([1, 0.5, 0.05, 0, 0.5, 0.85], abs=0.02)  # lost from 2 s to 4.5 s
    assert "vision" in recording.between(1.9, 3.9)
    assert "vision" not in recording.between(1.9, 3.9, 0.1)
    out = tmp_path / "s.csv"
    words = ("predict", place / "run", "--audio", long["audio"], "--openface", long["openface"], "--window", "2")
    assert imder_(*words, "--hop", "1.9", "--out", out) == 0
    assert ["vision" in row["available"] for row in rows_of(out)] == [True, False, True, True]
    assert "vision: covers less than 0.1 of 1 windows" in " ".join(capsys.readouterr().out.split())
    assert imder_(*words, "--hop", "1.9", "--least-share", "0", "--out", out) == 0
    assert ["vision" in row["available"] for row in rows_of(out)] == [True, True, True, True]
    # in a table of which two frames in five seconds were tracked, a face is seen for two frames
    table(tmp_path / "rare.csv", 150, untracked=[i for i in range(150) if i not in (30, 120)])
    rare = predictor.read_recording(openface=tmp_path / "rare.csv")
    assert rare.shares(0, 4)["vision"] == pytest.approx(1 / FPS / 4, rel=0.01)
    assert imder_("predict", place / "run", "--text", "a", "--least-share", "0.5") == 2
    assert "give --window too" in capsys.readouterr().err
    assert imder_(*words, "--hop", "1.9", "--least-share", "2", "--out", out) == 2
    assert "from 0 to 1" in capsys.readouterr().err


def test_cells_of_the_plot_stay_within_their_windows():
    """Halfway between middles; where windows leave gaps, so do the cells."""
    rows = [{"start": s, "end": s + 4.0} for s in (0.0, 1.0, 2.0, 2.5)]
    edges, kept = _cells(rows)
    assert edges.tolist() == [1.5, 2.5, 3.5, 4.25, 4.75]
    assert kept(np.arange(4.0)).tolist() == [0, 1, 2, 3]
    edges, kept = _cells([{"start": s, "end": s + 1.0} for s in (0.0, 3.0)])
    assert edges.tolist() == [0, 1, 3, 4]
    assert np.isnan(kept(np.array([5.0, 6.0]))).tolist() == [False, True, False]
    assert _cells(rows[:1])[0].tolist() == [0, 4]


def test_a_window_with_nothing_has_no_prediction(place, long, tmp_path, capsys):
    out = tmp_path / "s.csv"
    assert imder_("predict", place / "run", "--openface", long["openface"], "--window", "1", "--out", out) == 0
    rows = rows_of(out)
    assert [float(rows[i]["start"]) for i in (0, 1)] == [0, 0.25]  # a quarter of a window
    empty = [row for row in rows if not row["available"]]
    assert [float(row["start"]) for row in empty] == [2, 2.25, 2.5, 2.75, 3, 3.25, 3.5]
    assert {row["prediction"] for row in empty} == {""}
    assert "7 windows have no modality" in " ".join(capsys.readouterr().out.split())


def test_classes_over_time(place, long, tmp_path):
    out = tmp_path / "s.csv"
    words = ("predict", place / "ridge", "--audio", long["audio"], "--openface", long["openface"], "--text", "a day")
    assert imder_(*words, "--window", "2", "--hop", "2", "--out", out) == 0
    rows = rows_of(out)
    wanted = ["start", "end", "available", "missing", "text", "label", "p_glad", "p_sad", "entropy", "set"]
    wanted += ["share_vision", "share_audio"]
    assert list(rows[0]) == wanted
    assert all("language" in row["available"] for row in rows)  # it has no times: everywhere
    assert (tmp_path / "s.png").stat().st_size > 10_000


def test_words_belong_to_the_windows_they_were_said_in(place, long, predictor, tmp_path):
    (tmp_path / "t.srt").write_text(
        "1\n00:00:00,500 --> 00:00:01,500\nwhat a <i>good</i>\nday\n\n2\n00:00:04,000 --> 00:00:06,000\na day\n"
    )
    recording = predictor.read_recording(audio=long["audio"], transcript=tmp_path / "t.srt")
    rows = predictor.predict_windows(recording, 2, 2)
    assert [row["available"] for row in rows] == ["language+audio", "audio", "language+audio", "language+audio"]
    (whole,) = predictor.predict_windows(recording, 7, 7)
    clip = predictor.predict_clip(audio=long["audio"], text="what a good day a day")
    assert whole["prediction"] == pytest.approx(clip["prediction"], abs=1e-5)
    alone = predictor.read_recording(transcript=tmp_path / "t.srt")
    assert alone.seconds == 6


def test_a_long_recording_is_decoded_once(predictor, long, monkeypatch):
    seen = []
    real = Sound._decoded
    monkeypatch.setattr(Sound, "_decoded", lambda sound: seen.append(1) or real(sound))
    recording = predictor.read_recording(audio=long["audio"])
    assert len(predictor.predict_windows(recording, 1, 0.1, batch_size=8)) == 53
    assert len(seen) == 1


def test_tables_whose_time_isnt_known(place, predictor, tmp_path):
    columns = tuple(name for name in openface_columns("pose+aus") if name != "timestamp")
    write_openface(tmp_path / "t.csv", openface_rows(9, columns), columns)
    with pytest.raises(ImderError, match="no column 'timestamp'"):
        predictor.read_recording(openface=tmp_path / "t.csv")
    columns = openface_columns("pose+aus")
    write_openface(tmp_path / "u.csv", openface_rows(9, columns)[::-1], columns)
    with pytest.raises(ImderError, match="doesn't go up"):
        predictor.read_recording(openface=tmp_path / "u.csv")


@pytest.mark.parametrize(
    ("seconds", "window", "hop", "count", "last"),
    [
        (10, 4, 1, 7, 6),
        (10.05, 4, 1, 7, 6),
        (10.5, 4, 1, 8, 6.5),
        (4, 4, 4, 1, 0),
        (3, 4, 1, 1, 0),
        (60, 0.3, 0.1, 598, 59.7),
    ],
)
def test_where_windows_are(seconds, window, hop, count, last):
    found = window_bounds(seconds, window, hop)
    assert len(found) == count
    assert found[-1][0] == pytest.approx(last)
    assert all(end <= seconds for _, end in found)
    assert seconds - found[-1][1] <= 0.1


def test_frames_of_neighbouring_windows_are_shared_out(place, predictor, long):
    """Windows that don't overlap have every frame once."""
    recipe = predictor._media()
    recording = read_recording(Clip("x", audio=long["audio"], openface=long["openface"]), recipe)
    parts = [recording.between(start, end) for start, end in window_bounds(recording.seconds, 0.25, 0.25)]
    for name, whole in recording.features.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts if name in part]), whole)


# Transcripts.


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "a.vtt",
            "WEBVTT\n\nNOTE a note\n\nx\n00:01.000 --> 00:02.500 align:start\n<v Ann>good\n\n01:00:00.0 --> 01:00:01.0\nday\n",
        ),
        (
            "a.srt",
            "\ufeff1\r\n00:00:01,000 --> 00:00:02,500\r\ngood\r\n\r\n2\r\n01:00:00,000 --> 01:00:01,000\r\nday\r\n",
        ),
        ("a.csv", "start,end,text,speaker\n3600,3601,day,x\n1,2.5,good,y\n4,5,,z\n"),
    ],
)
def test_transcripts(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode())
    cues = read_transcript(tmp_path / name)
    assert [(cue.start, cue.end, cue.text) for cue in cues] == [(1, 2.5, "good"), (3600, 3601, "day")]
    assert text_between(cues, 0, 4) == "good"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.srt", b"hello", "no words with times"),
        ("a.srt", b"1\n00:00:02,0 --> 00:00:01,0\nx\n", "a.srt: line 2: from 2 s to 1 s"),
        ("a.srt", b"1\n0:0:0:1 --> 00:00:01,0\nx\n", "line 2: '0:0:0:1' is not a time"),
        ("a.srt", b"\xff", "is not UTF-8"),
        ("a.csv", b"start,end\n1,2\n", "no column 'text'"),
        ("a.csv", b"start,end,text\n1,x,good\n", "line 2: end: 'x' is not a number"),
        ("a.csv", b"start,end,text\n1\n", "line 2: end: '' is not a number"),
    ],
)
def test_transcripts_that_are_wrong(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImderError, match=message.replace("(", r"\(")):
        read_transcript(tmp_path / name)


def test_nothing_half_drawn(predictor, tmp_path):
    row = {"start": 0.0, "end": 1.0, "available": "audio", "prediction": 0.5}
    with pytest.raises(ImderError, match="cannot be written"):
        plot_series([row], predictor.model.spec, "/dev/null/x.png", level=0.9)
    plot_series([row], predictor.model.spec, tmp_path / "x.png", level=0.9)  # no calibration: no interval
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]
