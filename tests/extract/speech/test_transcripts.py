"""Transcripts: clips with sound and no text get words, a given text wins, and silence stays a missing modality."""

import csv
import sys

import numpy as np
import pytest

for package in ("soundfile", "av", "transformers"):
    pytest.importorskip(package)

from command_line import imder_  # noqa: E402
from imder.data.formats.load import load_corpus  # noqa: E402
from imder.extract.manifest import Clip  # noqa: E402
from imder.extract.media import Sound  # noqa: E402
from imder.extract.recipe import TranscriptionRecipe  # noqa: E402
from imder.extract.speech import plan, transcribe, whisper  # noqa: E402
from tiny_media import tiny_bert, tone, write_manifest, write_video, write_wav  # noqa: E402
from tiny_speech import PAUSE, SPOKEN, faster_whisper, tiny_whisper, write_noise, write_speech  # noqa: E402

__all__ = ["faster_whisper"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"))


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return [*csv.DictReader(file)]


def extract(source, out, bert, *more):
    return imder_("extract", source, out, "--language", bert, "--audio", "mel64", "--vision", "none", *more)


def texts(store):
    split = load_corpus(store)["all"]
    return dict(zip(split.ids, split.texts, strict=True))


def test_words_of_a_clip_their_times_and_their_origin(faster_whisper, bert, tmp_path, capsys):
    model = tiny_whisper(tmp_path / "whisper")
    write_speech(tmp_path / "a.wav", 3)
    assert extract(tmp_path / "a.wav", tmp_path / "store", bert, "--asr-model", model) == 0
    said = capsys.readouterr().out
    assert f"clips with sound and no text: transcribed by Whisper {model}, language detected" in said
    assert f"1 clip transcribed; the words and their times: {tmp_path / 'store'}/words.csv" in said
    assert texts(tmp_path / "store") == {"a": "What a day!"}
    words = rows(tmp_path / "store" / "words.csv")
    assert [row["text"] for row in words] == ["What", "a", "day!"]
    assert [float(row["start"]) for row in words] == pytest.approx([i * (SPOKEN + PAUSE) for i in range(3)])
    assert {row["origin"] for row in words} == {f"transcribed by Whisper {model}"}
    corpus = load_corpus(tmp_path / "store")
    assert corpus.recipe["transcription"]["model"] == str(model)
    assert corpus["all"].present.all()


def test_a_given_text_wins(faster_whisper, bert, tmp_path):
    model = tiny_whisper(tmp_path / "whisper")
    for name in "abc":
        write_speech(tmp_path / f"{name}.wav", 2)
    (tmp_path / "b.txt").write_text("as written")
    (tmp_path / "c.txt").write_text(" ")  # known to be wordless: nothing is invented for it
    clips = write_manifest(tmp_path / "m.csv", [("id", "audio", "text"), ("a", "a.wav", "given"), ("b", "b.wav", "")])
    assert extract(clips, tmp_path / "one", bert, "--transcribe", "--asr-model", model) == 0
    assert texts(tmp_path / "one") == {"a": "given", "b": "What a"}
    assert {row["id"] for row in rows(tmp_path / "one" / "words.csv")} == {"b"}
    folder = tmp_path / "folder"
    folder.mkdir()
    for file in (*tmp_path.glob("[abc].wav"), *tmp_path.glob("[bc].txt")):
        file.rename(folder / file.name)
    assert extract(folder, tmp_path / "two", bert, "--transcribe", "--asr-model", model) == 0
    assert texts(tmp_path / "two") == {"a": "What a", "b": "as written", "c": ""}


@pytest.mark.parametrize("level", [0.0, 0.01], ids=["silence", "noise"])
def test_nobody_speaks(faster_whisper, bert, tmp_path, level):
    model = tiny_whisper(tmp_path / "whisper")
    (folder := tmp_path / "clips").mkdir()
    write_speech(folder / "speech.wav", 1)
    write_noise(folder / "quiet.wav", level=level)
    assert extract(folder, tmp_path / "store", bert, "--asr-model", model) == 0
    split = load_corpus(tmp_path / "store")["all"]
    assert dict(zip(split.ids, split.present.tolist(), strict=True)) == {"quiet": [False, True], "speech": [True, True]}
    assert [tuple(row.values()) for row in rows(tmp_path / "store" / "remarks.csv")] == [
        ("quiet", "language", "no speech was found in the sound")
    ]


@pytest.mark.parametrize(
    "segment", [{"no_speech_prob": 0.7}, {"avg_logprob": -1.6}, {"compression_ratio": 3.0}, {"text": " ..."}], ids=str
)
def test_invented_sentences_are_dropped(faster_whisper, bert, tmp_path, segment, capsys):
    model = tiny_whisper(tmp_path / "whisper", **segment)
    write_speech(tmp_path / "a.wav", 2)
    clips = write_manifest(tmp_path / "m.csv", [("id", "audio", "text"), ("a", "a.wav", ""), ("b", "a.wav", "good")])
    assert extract(clips, tmp_path / "store", bert, "--asr-model", model) == 0
    assert texts(tmp_path / "store") == {"a": "", "b": "good"}
    assert "transcribed;" not in capsys.readouterr().out


def test_videos_and_damaged_sound(faster_whisper, bert, tmp_path):
    model = tiny_whisper(tmp_path / "whisper")
    (folder := tmp_path / "clips").mkdir()
    write_video(folder / "talk.mkv", np.concatenate([0 * tone(0.2), tone(0.5)]))
    write_video(folder / "mute.mp4")
    (folder / "mute.txt").write_text("good")
    write_video(folder / "silent.mp4")
    (folder / "broken.wav").write_bytes(b"RIFF\x10\x00\x00\x00WAVEfmt ")
    assert extract(folder, tmp_path / "store", bert, "--asr-model", model) == 3
    assert texts(tmp_path / "store")["talk"].startswith("What")
    assert {(row["id"], row["modality"]) for row in rows(tmp_path / "store" / "failures.csv")} == {
        ("broken", "language"),
        ("broken", "audio"),
        ("silent", "all"),
    }


def test_chinese_words_have_no_blanks(faster_whisper, bert, tmp_path):
    model = tiny_whisper(tmp_path / "whisper", words=["今", "天", "好！"], multilingual=True)
    write_speech(tmp_path / "a.wav", 3)
    assert extract(tmp_path / "a.wav", tmp_path / "store", bert, "--asr-model", model, "--asr-language", "zh") == 0
    assert texts(tmp_path / "store") == {"a": "今天好！"}
    assert load_corpus(tmp_path / "store").recipe["transcription"]["language"] == "zh"


def test_the_default_transcribes_where_it_can(faster_whisper, bert, tmp_path, monkeypatch, capsys):
    model = tiny_whisper(tmp_path / "whisper")
    write_speech(tmp_path / "a.wav", 2)
    table = write_manifest(tmp_path / "m.csv", [("id", "audio", "text"), ("a", "a.wav", ""), ("b", "a.wav", "good")])
    assert extract(table, tmp_path / "one", bert) == 0
    assert "language is missing in 1 clips with sound and no text: --asr-model base: cannot be fetched" in (
        " ".join(capsys.readouterr().out.split())
    )
    assert texts(tmp_path / "one") == {"a": "", "b": "good"}
    monkeypatch.setenv("IMDER_ASR_MODEL", str(model))
    assert extract(table, tmp_path / "two", bert) == 0
    assert texts(tmp_path / "two") == {"a": "What a", "b": "good"}
    assert extract(table, tmp_path / "three", bert, "--no-transcribe") == 0
    assert texts(tmp_path / "three") == {"a": "", "b": "good"}


def mistakes(tmp_path):
    broken = tiny_whisper(tmp_path / "broken")
    (broken / "config.json").write_text("no model")
    half = tiny_whisper(tmp_path / "half")
    (half / "tokenizer.json").unlink()
    model = tiny_whisper(tmp_path / "whisper")
    return {
        (tmp_path / "gone",): "there is no such folder",
        ("small-ish",): "no such folder or size; sizes are tiny.en, base",
        ("base",): "cannot be fetched from the hub (no network); offline, pass a folder",
        (broken,): "can't be read as a Whisper model",
        (half,): "no tokenizer.json in this folder",
        (model, "--asr-language", "zh"): "--asr-language zh: ",
    }


def test_mistakes_are_one_line_before_any_work(faster_whisper, bert, tmp_path, capsys):
    write_speech(tmp_path / "a.wav", 2)
    for options, message in mistakes(tmp_path).items():
        assert extract(tmp_path / "a.wav", tmp_path / "store", bert, "--transcribe", "--asr-model", *options) == 2
        error = capsys.readouterr().err
        assert message in error, options
        assert len(error.strip().splitlines()) == 1
    assert not [*tmp_path.glob("store*")]


def test_the_extra_is_named_where_it_is_missing(bert, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plan, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    write_wav(tmp_path / "a.wav")
    assert extract(tmp_path / "a.wav", tmp_path / "store", bert, "--transcribe") == 2
    assert "--transcribe needs faster-whisper: pip install '.[speech]'" in capsys.readouterr().err
    clips = write_manifest(tmp_path / "m.csv", [("id", "audio", "text"), ("a", "a.wav", ""), ("b", "a.wav", "good")])
    assert extract(clips, tmp_path / "store", bert) == 0
    said = capsys.readouterr().out
    assert "language is missing in 1 clips with sound and no text; speech to text: pip install '.[speech]'" in said
    whisper = ("extract", tmp_path / "a.wav", tmp_path / "other", "--language", "none", "--audio", "whisper")
    assert imder_(*whisper) == 2


def test_words_without_language_are_refused(faster_whisper, tmp_path, capsys):
    write_wav(tmp_path / "a.wav")
    assert imder_("extract", tmp_path / "a.wav", tmp_path / "store", "--language", "none", "--transcribe") == 2
    assert "--transcribe: the words aren't read with --language none" in capsys.readouterr().err


def test_an_interrupted_extraction_keeps_its_words(faster_whisper, bert, tmp_path):
    model = tiny_whisper(tmp_path / "whisper")
    (folder := tmp_path / "clips").mkdir()
    write_speech(folder / "a.wav", 3)
    (folder / "b.wav").write_bytes(b"")
    assert extract(folder, tmp_path / "store", bert, "--asr-model", model) == 3  # a is kept for a run after b is mended
    write_speech(folder / "b.wav", 1)
    (tmp_path / "store").rename(tmp_path / "first")
    assert extract(folder, tmp_path / "store", bert, "--asr-model", model) == 0
    assert [(row["id"], row["text"]) for row in rows(tmp_path / "store" / "words.csv")] == [
        ("a", "What"),
        ("a", "a"),
        ("a", "day!"),
        ("b", "What"),
    ]


def test_long_sound_is_transcribed_in_blocks_that_end_in_pauses(faster_whisper, tmp_path, monkeypatch):
    model = str(tiny_whisper(tmp_path / "whisper"))
    recipe = TranscriptionRecipe(model, whisper.load_whisper(model).fingerprint())
    path = write_speech(tmp_path / "a.wav", 8)
    once = transcribe.transcript_of(Clip("a", audio=path), recipe)
    monkeypatch.setattr(transcribe, "BLOCK", 2)
    monkeypatch.setattr(transcribe, "LAST", 1)
    lengths = [len(signal) for _, signal in transcribe.blocks(Sound(path, whisper.RATE))]
    assert len(lengths) == 4
    assert max(lengths) <= 2 * whisper.RATE
    assert sum(lengths) == round(8 * (SPOKEN + PAUSE) * whisper.RATE)
    in_blocks = transcribe.transcript_of(Clip("a", audio=path), recipe)
    assert len(in_blocks.words) == len(once.words) == 8
    for word, same in zip(in_blocks.words, once.words, strict=True):
        assert (word.start, word.end) == pytest.approx((same.start, same.end), abs=0.11)  # the stand-in's grid
    assert in_blocks.language == once.language == "en"
