"""`imder live --replay`: a file as a stream, on the command line."""

import json
import shutil
import sys

import pytest

from command_line import imder_, rows_of
from imder.media.live.replay import Replay
from tiny_media import tone, write_video, write_wav


def replay(predictor, **files):
    stream = predictor.stream(2.0, 1.0, block=True, name="film")
    about = Replay(**files, speed=0)
    about.into(stream)
    return list(stream), about


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """A recording of 5 s and its words."""
    folder = tmp_path_factory.mktemp("live")
    (folder / "words.csv").write_text("start,end,text\n0.2,1.4,a good day\n2.1,2.8,abc\n")
    return write_wav(folder / "talk.wav", tone(5.0)), folder / "words.csv"


def test_a_file_is_replayed_in_lines_and_rows(media, talk, tmp_path, capsys):
    sound, words = talk
    out = tmp_path / "series.csv"
    options = ("--speed", "0", "--window", "2", "--hop", "1", "--out", out)
    assert imder_("live", media / "run", "--replay", sound, "--transcript", words, *options) == 0
    rows = rows_of(out)
    assert [row["start"] for row in rows] == ["0.0", "1.0", "2.0", "3.0"]
    assert [row["available"] for row in rows] == ["language+audio", "language+audio", "language+audio", "audio"]
    assert [row["text"] for row in rows] == ["a good day", "abc", "abc", ""]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("    0.00 to     2.00 s  ")
    assert "no vision" in lines[0]
    assert "audio 1.00" in lines[0]
    assert lines[4:] == [f"saved in {out}"]
    assert imder_("live", media / "run", "--replay", sound, "--seconds", "2", *options) == 0
    assert len(rows_of(out)) == 1


def test_classes_and_their_probabilities_are_rows_too(media, talk, tmp_path):
    out = tmp_path / "series.csv"
    options = ("--speed", "0", "--window", "2", "--hop", "2", "--out", out)
    assert imder_("live", media / "ridge", "--replay", talk[0], *options) == 0
    for row in rows_of(out):
        assert float(row["p_sad"]) + float(row["p_glad"]) == pytest.approx(1)
        assert row["prediction"] in row["set"].split("|")


def test_the_sound_of_a_video_counts_where_there_is_some(predictor, tmp_path):
    """The sound begins late, at 1 s, and there is a gap of 1 s in its middle."""
    video = write_video(tmp_path / "film.mkv", tone(4.0), frames=60, late=1.0, gap=(2.0, 1.0))
    rows, about = replay(predictor, video=video)
    assert about.seconds == pytest.approx(6.0, abs=0.1)
    assert [round(row["coverage"]["audio"], 1) for row in rows] == [0.5, 1.0, 0.5, 0.5, 1.0]
    assert any("gap" in remark for remark in about.remarks)


def test_a_picture_that_is_not_read_is_told_at_once(media, tmp_path, capsys):
    video = write_video(tmp_path / "film.mp4", tone(2.0), frames=20)
    assert imder_("live", media / "run", "--replay", video, "--speed", 0, "--window", 2, "--hop", 2) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("remark: the picture is not used: the run reads columns of OpenFace")


def test_a_video_without_sound_has_none(predictor, tmp_path):
    rows, about = replay(predictor, video=write_video(tmp_path / "film.mp4", frames=30))
    assert [row["prediction"] for row in rows] == [None, None]
    assert about.remarks == ["film.mp4: a video without sound"]


def test_a_run_on_other_features_is_refused_at_once(media, talk, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(media / "run", run)
    about = json.loads((run / "trained_on.json").read_text())
    (run / "trained_on.json").write_text(json.dumps(about | {"recipe": None}))
    assert imder_("live", run, "--replay", talk[0], "--speed", 0) == 2
    assert "was trained on features that `imder extract` didn't make" in capsys.readouterr().err


def test_what_can_not_be_watched_is_one_line(media, talk, monkeypatch, capsys, tmp_path):
    def says(*words):
        assert imder_("live", media / "run", *words) == 2
        return capsys.readouterr().err

    assert "say what to predict: --camera 0" in says()
    assert "say what to predict: --camera 0" in says("--camera", "0", "--replay", talk[0])
    assert "there is no such file" in says("--replay", tmp_path / "none.mp4")
    assert "--transcript: timed words are read with --replay only" in says("--camera", "0", "--transcript", talk[1])
    assert "--speed: devices run in real time; it applies to --replay only" in says("--camera", "0", "--speed", "2")
    camera = says("--camera", tmp_path / "video7")
    assert "can't be opened with" in camera
    assert "video7" in camera
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert "pip install 'imder[live]'" in says("--microphone", "default")
