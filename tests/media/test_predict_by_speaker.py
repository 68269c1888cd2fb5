"""``imder predict`` of media where the run's features are standardised by speaker: over a speaker's clips, or not at all."""

from dataclasses import replace

import pytest

from command_line import imder_, rows_of
from tiny_media import openface_columns, openface_rows, tiny_bert, tone, write_manifest, write_openface, write_wav

for package in ("soundfile", "transformers"):
    pytest.importorskip(package)

import imder  # noqa: E402
from imder.data.store import read_store  # noqa: E402
from imder.extract.manifest import read_source  # noqa: E402
from imder.extract.recipe import Recipe  # noqa: E402
from imder.media.clips import ALONE  # noqa: E402
from imder.types import ImderError  # noqa: E402

WORDS = ("what a good day", "a day", "good days", "abc")
HEAD = ("id", "audio", "text", "openface", "label", "split", "speaker")


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """Clips of four speakers, one of them in training and test; a store standardised by speaker, and a run on it."""
    media = tmp_path_factory.mktemp("voices")
    bert = tiny_bert(media / "bert")
    columns = openface_columns("aus")
    rows = []
    for i in range(20):
        write_wav(media / f"{i}.wav", (1 + i % 3) * 0.3 * tone(0.1 + 0.02 * i, seed=i))
        write_openface(media / f"{i}.csv", openface_rows(3 + i % 3, columns, seed=i), columns)
        split = "train" if i < 12 else "valid" if i < 15 else "test"
        sound = "" if i in (3, 16) else f"{i}.wav"
        rows.append((f"c{i}", sound, WORDS[i % 4], f"{i}.csv", (i % 5) - 2.0, split, f"s{i % 3 if i < 17 else 3}"))
    write_manifest(media / "clips.csv", [HEAD, *rows])
    options = ("--language", bert, "--audio", "mel64", "--vision", "aus")
    assert imder_("extract", media / "clips.csv", media / "plain", *options) == 0
    assert imder_("data", "convert", media / "plain", media / "store", "--by-speaker", "audio,vision") == 0
    for name, store in (("run", "store"), ("other", "plain")):
        assert imder_("train", media / store, "--out", media / name, "--preset", "ridge") == 0
    return media


@pytest.mark.parametrize("split", ["test", "train"])
def test_a_manifest_is_predicted_as_its_converted_store(media, tmp_path, split):
    """Clips of other splits count where they are of the same speaker, and aren't predicted."""
    words = ("predict", media / "run", media / "store", "--split", split, "--out", tmp_path / "a.csv")
    assert imder_(*words) == 0
    words = ("predict", media / "run", media / "clips.csv", "--split", split, "--batch-size", "2")
    assert imder_(*words, "--out", tmp_path / "b.csv") == 0
    one, two = rows_of(tmp_path / "a.csv"), rows_of(tmp_path / "b.csv")
    assert [row["id"] for row in one] == [row["id"] for row in two]
    for a, b in zip(one, two, strict=True):
        assert float(a["prediction"]) == pytest.approx(float(b["prediction"]), abs=1e-5)
        assert a["available"] == b["available"]
    clips = [clip for clip in read_source(media / "clips.csv") if clip.split == split]
    alone = imder.Predictor(media / "run").predict_clips(clips)  # of these clips only: another mean
    differences = [abs(float(a["prediction"]) - b["prediction"]) for a, b in zip(one, alone.rows, strict=True)]
    assert max(differences) > 1e-3


def test_the_only_clip_of_a_speaker_is_remarked(media):
    clips = read_source(media / "clips.csv")
    found = imder.Predictor(media / "run").predict_clips([clips[0], clips[1], clips[4], clips[3]])
    assert [row["id"] for row in found.rows] == ["c0", "c1", "c4", "c3"]
    assert [remark for remark in found.remarks if remark[2] == ALONE] == [("c0", "audio", ALONE)]


def test_what_comes_without_a_speaker_is_refused(media, tmp_path, capsys):
    message = "has no speaker; predict a manifest with a column 'speaker'"
    for words in (("--audio", media / "0.wav"), ("--audio", media / "0.wav", "--window", "1")):
        assert imder_("predict", media / "run", *words, "--out", tmp_path / "p.csv") == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("imder: error: ") == 1
    assert not (tmp_path / "p.csv").exists()
    predictor = imder.Predictor(media / "run")
    clips = read_source(media / "clips.csv")
    with pytest.raises(ImderError, match=r"clip 'c4': .*run reads vision standardised by speaker"):
        predictor.predict_clips([*clips[:4], replace(clips[4], speaker=None)])
    with pytest.raises(ImderError, match="reads audio standardised by speaker"):
        predictor.predict_clip(audio=media / "0.wav", text="a day")
    assert predictor.predict_clip(text="a day")["available"] == "language"  # which isn't standardised so
    recording = imder.Predictor(media / "other").read_recording(audio=media / "0.wav")
    with pytest.raises(ImderError, match=r"recording '0': .* reads audio standardised by speaker"):
        predictor.predict_windows(recording, 1, 1)


def test_corpora_are_checked(media):
    predictor = imder.Predictor(media / "run")
    assert len(predictor.predict(media / "store", "test")) == 5
    with pytest.raises(ImderError, match=r"audio isn't standardised by speaker, unlike what .*run was trained on"):
        predictor.predict(media / "plain", "test")
    with pytest.raises(ImderError, match=r"audio is standardised by speaker, unlike what .*other was trained on"):
        imder.Predictor(media / "other").predict(media / "store", "test")


def test_the_recipe_of_such_a_store(media):
    found = read_store(media / "store").recipe
    recipe = Recipe.from_dict(found, "store")
    assert recipe.by_speaker == ("vision", "audio")
    assert recipe.to_dict() == found
    assert recipe.only({"language", "audio"}).by_speaker == ("audio",)
    plain = Recipe.from_dict(read_store(media / "plain").recipe, "plain")
    assert "by_speaker" not in plain.to_dict()
    assert plain.key() != recipe.key()
