"""Speech to text on the way to a prediction: of a clip, of windows, with models that have moved."""

import pytest

import imder
from command_line import imder_, rows_of
from imder.types import ImderError
from media_runs import SMALL, WORDS, close
from tiny_media import write_manifest
from tiny_speech import PAUSE, SPOKEN, faster_whisper, tiny_whisper, write_noise, write_speech

__all__ = ["faster_whisper"]

SENTENCE = (" what", " a", " good", " day")


@pytest.fixture
def whisper(faster_whisper, tmp_path):
    return tiny_whisper(tmp_path / "whisper", SENTENCE)


@pytest.fixture
def speech(tmp_path):
    return write_speech(tmp_path / "speech.wav", 4)


def test_a_clip_is_transcribed(media, whisper, speech, tmp_path):
    predict = ("predict", media / "run", "--audio", speech, "--asr-model", whisper)
    assert imder_(*predict, "--out", tmp_path / "spoken.csv") == 0
    assert imder_(*predict, "--text", WORDS[0], "--out", tmp_path / "given.csv") == 0
    (spoken,), (given,) = rows_of(tmp_path / "spoken.csv"), rows_of(tmp_path / "given.csv")
    assert spoken["text"] == WORDS[0] == "what a good day"
    assert spoken["available"] == "language+audio"
    close(spoken, given)
    assert imder_(*predict, "--no-transcribe", "--out", tmp_path / "none.csv") == 0
    assert rows_of(tmp_path / "none.csv")[0]["available"] == "audio"


def test_a_given_text_needs_no_model(media, whisper, speech, tmp_path):
    clips = write_manifest(tmp_path / "m.csv", [("id", "audio", "text"), ("a", speech.name, "abc")])
    (row,) = imder.Predictor(media / "run", asr_model=str(tmp_path / "gone")).predict_clips(clips).rows
    assert row["text"] == "abc"


def test_clips_are_predicted_as_from_a_store(media, whisper, speech, tmp_path):
    write_noise(tmp_path / "quiet.wav", level=0.01)
    rows = [("id", "audio", "text", "split"), *((x, f"{x}.wav", "", "test") for x in ("speech", "quiet"))]
    clips = write_manifest(tmp_path / "m.csv", rows)
    options = ("--language", media / "bert", "--audio", "mel64", "--asr-model", whisper)
    assert imder_("extract", clips, tmp_path / "store", *options) == 0
    assert imder_("predict", media / "run", tmp_path / "store", "--out", tmp_path / "store.csv") == 0
    asr = ("--asr-model", whisper)
    assert imder_("predict", media / "run", clips, *asr, "--out", tmp_path / "clips.csv") == 0
    for one, other in zip(rows_of(tmp_path / "store.csv"), rows_of(tmp_path / "clips.csv"), strict=True):
        close(one, other)
    assert [row["text"] for row in rows_of(tmp_path / "clips.csv")] == [WORDS[0], ""]
    assert "no speech was found in the sound" in (tmp_path / "clips-remarks.csv").read_text()


def test_windows_get_their_words(media, whisper, speech, tmp_path):
    predict = ("predict", media / "run", "--audio", speech, "--window", SPOKEN + PAUSE, "--hop", SPOKEN + PAUSE)
    assert imder_(*predict, "--asr-model", whisper, "--out", tmp_path / "series.csv") == 0
    rows = rows_of(tmp_path / "series.csv")
    assert [row["text"] for row in rows] == ["what", "a", "good", "day"]
    assert {row["available"] for row in rows} == {"language+audio"}
    timed = write_manifest(
        tmp_path / "words.csv",
        [("start", "end", "text"), *((i * 0.7, i * 0.7 + 0.4, word) for i, word in enumerate(["a", "b", "c", "d"]))],
    )
    given = ("--transcript", timed, "--asr-model", whisper)
    assert imder_(*predict, *given, "--out", tmp_path / "given.csv") == 0
    assert [row["text"] for row in rows_of(tmp_path / "given.csv")] == ["a", "b", "c", "d"]
    assert imder_(*predict, "--no-transcribe", "--out", tmp_path / "none.csv") == 0
    assert {row["available"] for row in rows_of(tmp_path / "none.csv")} == {"audio"}


def test_windows_of_silence_have_no_words(media, whisper, tmp_path, capsys):
    quiet = write_noise(tmp_path / "quiet.wav", 3, 0.01)
    predict = ("predict", media / "run", "--audio", quiet, "--window", "1", "--asr-model", whisper)
    assert imder_(*predict, "--out", tmp_path / "series.csv") == 0
    assert "remark: language: no speech was found in the sound" in capsys.readouterr().out
    assert {row["available"] for row in rows_of(tmp_path / "series.csv")} == {"audio"}


def test_windows_of_chinese_words(media, faster_whisper, tmp_path):
    whisper = tiny_whisper(tmp_path / "chinese", ["今", "天", "好"], multilingual=True)
    predictor = imder.Predictor(media / "run", asr_model=str(whisper), asr_language="zh")
    recording = predictor.read_recording(audio=write_speech(tmp_path / "a.wav", 3))
    assert [cue.text for cue in recording.cues] == ["今", "天", "好"]
    assert [row["text"] for row in predictor.predict_windows(recording, 1.4, 0.7)] == ["今天", "天好"]


def test_mistakes(media, whisper, speech, tmp_path, capsys):
    predict = ("predict", media / "run", "--audio", speech)
    for options, message in (
        (("--asr-model", tmp_path / "gone"), "gone: there is no such folder"),
        (("--asr-model", whisper, "--asr-language", "xx"), "--asr-language xx: "),
        (("--audio-model", whisper), "--audio-model: "),
        (("--language", "none", "--transcribe"), "reads no words with --language none; leave it out"),
    ):
        assert imder_(*predict, *options) == 2
        error = capsys.readouterr().err
        assert message in error
        assert len(error.strip().splitlines()) == 1
    files = ("--asr-model", "--audio-model", "--face-model", "--openface-program", "--language")
    for option in (("--transcribe",), *((name, whisper) for name in files)):
        out = ("--out", tmp_path / "p.csv")
        assert imder_("predict", media / "run", media / "numbers", *option, *out) == 2
        assert f"{option[0]} applies to recordings" in capsys.readouterr().err


def test_whisper_that_has_moved(media, whisper, tmp_path, capsys):
    for i in range(4):
        write_speech(tmp_path / f"{i}.wav", i + 1)
    splits = ("train", "train", "valid", "test")
    rows = [("id", "audio", "label", "split"), *((i, f"{i}.wav", i % 2 + 0.5, splits[i]) for i in range(4))]
    clips = write_manifest(tmp_path / "m.csv", rows)
    options = ("--language", media / "bert", "--asr-model", whisper)
    assert imder_("extract", clips, tmp_path / "store", *options, "--audio", "whisper") == 0
    assert imder_("train", tmp_path / "store", "--out", tmp_path / "run", *SMALL) == 0
    before = imder.Predictor(tmp_path / "run").predict_clip(audio=tmp_path / "3.wav")
    assert before["text"] == "what a good day"
    moved = whisper.rename(tmp_path / "moved")
    with pytest.raises(ImderError, match=r"whisper: there is no such folder"):
        imder.Predictor(tmp_path / "run").predict_clip(audio=tmp_path / "3.wav")
    assert imder.Predictor(tmp_path / "run", asr_model=str(moved)).predict_clip(audio=tmp_path / "3.wav") == before
    one = imder.Predictor(tmp_path / "run", audio_model=str(moved), transcribe=False)
    assert one.predict_clip(audio=tmp_path / "3.wav")["available"] == "audio"
