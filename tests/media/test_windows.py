"""Recordings as time series."""

import numpy as np
import pytest

import imder
from command_line import imder_, rows_of
from imder.extract.manifest import Clip
from imder.extract.sound_file import SoundFile
from imder.media.recording import read_recording
from imder.media.windows import window_bounds
from imder.types import ImderError
from media_runs import FPS, WORDS, close, table
from tiny_media import (
    openface_columns,
    openface_rows,
    write_openface,
)


def test_a_tuned_encoder_reads_what_is_said_in_a_window(media, tuned, long):
    predictor = imder.Predictor(tuned)
    recording = predictor.read_recording(**long, text=WORDS[1])
    (whole,) = predictor.predict_windows(recording, 60, 60)
    clip = predictor.predict_clip(**long, text=WORDS[1])
    assert whole["prediction"] == pytest.approx(clip["prediction"], abs=1e-5)


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


def test_modalities_come_and_go(media, long, tmp_path, capsys):
    out = tmp_path / "series.csv"
    words = ("predict", media / "run", "--audio", long["audio"], "--openface", long["openface"])
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


def test_a_face_seen_for_an_instant_is_missing(media, predictor, long, tmp_path, capsys):
    """A modality counts where it covers enough of a window, and the table says how much that is."""
    recording = predictor.read_recording(**long)
    shares = [recording.shares(t, t + 2)["vision"] for t in (0, 1, 1.9, 2, 3.5, 4.2)]
    assert shares == pytest.approx([1, 0.5, 0.05, 0, 0.5, 0.85], abs=0.02)  # lost from 2 s to 4.5 s
    assert "vision" in recording.between(1.9, 3.9)
    assert "vision" not in recording.between(1.9, 3.9, 0.1)
    out = tmp_path / "s.csv"
    words = ("predict", media / "run", "--audio", long["audio"], "--openface", long["openface"], "--window", "2")
    assert imder_(*words, "--hop", "1.9", "--out", out) == 0
    assert ["vision" in row["available"] for row in rows_of(out)] == [True, False, True, True]
    assert "vision: covers less than 0.1 of 1 windows" in " ".join(capsys.readouterr().out.split())
    assert imder_(*words, "--hop", "1.9", "--min-coverage", "0", "--out", out) == 0
    assert ["vision" in row["available"] for row in rows_of(out)] == [True, True, True, True]
    # in a table of which two frames in five seconds were tracked, a face is seen for two frames
    table(tmp_path / "rare.csv", 150, untracked=[i for i in range(150) if i not in (30, 120)])
    rare = predictor.read_recording(openface=tmp_path / "rare.csv")
    assert rare.shares(0, 4)["vision"] == pytest.approx(1 / FPS / 4, rel=0.01)
    assert imder_("predict", media / "run", "--text", "a", "--min-coverage", "0.5") == 2
    assert "give --window too" in capsys.readouterr().err
    assert imder_(*words, "--hop", "1.9", "--min-coverage", "2", "--out", out) == 2
    assert "from 0 to 1" in capsys.readouterr().err


def test_a_window_with_nothing_has_no_prediction(media, long, tmp_path, capsys):
    out = tmp_path / "s.csv"
    assert imder_("predict", media / "run", "--openface", long["openface"], "--window", "1", "--out", out) == 0
    rows = rows_of(out)
    assert [float(rows[i]["start"]) for i in (0, 1)] == [0, 0.25]  # a quarter of a window
    empty = [row for row in rows if not row["available"]]
    assert [float(row["start"]) for row in empty] == [2, 2.25, 2.5, 2.75, 3, 3.25, 3.5]
    assert {row["prediction"] for row in empty} == {""}
    assert "7 windows have no modality" in " ".join(capsys.readouterr().out.split())


def test_words_belong_to_the_windows_they_were_said_in(media, long, predictor, tmp_path):
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
    real = SoundFile.pieces
    monkeypatch.setattr(SoundFile, "pieces", lambda sound: seen.append(1) or real(sound))
    recording = predictor.read_recording(audio=long["audio"])
    assert len(predictor.predict_windows(recording, 1, 0.1, batch_size=8)) == 53
    assert len(seen) == 1


def test_tables_need_times_in_any_order(media, predictor, tmp_path):
    columns = tuple(name for name in openface_columns("pose+aus") if name != "timestamp")
    write_openface(tmp_path / "t.csv", openface_rows(9, columns), columns)
    with pytest.raises(ImderError, match="no column 'timestamp'"):
        predictor.read_recording(openface=tmp_path / "t.csv")
    columns = openface_columns("pose+aus")
    rows = openface_rows(9, columns)
    recordings = []
    for order in (rows, rows[::-1]):
        write_openface(tmp_path / "u.csv", order, columns)
        recordings.append(predictor.read_recording(openface=tmp_path / "u.csv"))
    for first, second in zip(*(recording.features.values() for recording in recordings), strict=True):
        np.testing.assert_array_equal(first, second)


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


def test_frames_of_neighbouring_windows_are_shared_out(media, predictor, long):
    """Windows that don't overlap have every frame once."""
    recipe = predictor._media.recipe
    recording = read_recording(Clip("x", audio=long["audio"], openface=long["openface"]), recipe)
    parts = [recording.between(start, end) for start, end in window_bounds(recording.seconds, 0.25, 0.25)]
    for name, whole in recording.features.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts if name in part]), whole)


def test_a_time_far_off_does_not_mean_weeks_of_windows():
    with pytest.raises(ImderError, match="more than 1000000 windows"):
        window_bounds(3600.0 * 999_999_999, 10.0, 5.0)
