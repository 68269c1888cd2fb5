"""Options and media that a run doesn't read are refused."""

from dataclasses import replace

import pytest

from imder.extract.recipe import AudioRecipe, FaceRecipe, LanguageRecipe, Recipe, SpeechRecipe, VisionRecipe
from imder.media.media_recipe import MediaOptions
from imder.media.reader import SPOKEN, MediaReader
from imder.types import ImderError

SOUND = Recipe(audio=AudioRecipe("mel64", 22050, 512, 2048, 64), vision=VisionRecipe("pose", 6))
SPEECH = Recipe(
    audio=SpeechRecipe("transformers", 16000, 1600, 320, 8, "gone", "f", "mean"),
    vision=FaceRecipe("face", 62, "gone", "f", 15, "longest"),
)

WORDS = replace(SOUND, language=LanguageRecipe("gone", "f", 50, 8))


def reader(recipe=SOUND, **options):
    return MediaReader(recipe.to_dict(), "run", MediaOptions(**options))


@pytest.mark.parametrize(
    ("recipe", "option", "message"),
    [
        (SOUND, "language", "--language: run reads no texts; leave it out"),
        (SOUND, "asr_model", "--asr-model: run reads no words"),
        (SOUND, "asr_language", "--asr-language: run reads no words"),
        (SOUND, "audio_model", "--audio-model: run reads no features of a speech model"),
        (SOUND, "face_model", "--face-model: run reads no faces"),
        (SPEECH, "openface", "--openface-program: run reads no columns of OpenFace"),
    ],
)
def test_options_in_vain_are_refused_at_once(recipe, option, message, tmp_path):
    (tmp_path / "FeatureExtraction").touch(0o755)
    with pytest.raises(ImderError, match=message):
        reader(recipe, **{option: str(tmp_path)})


def test_transcription_without_words_is_refused_at_once():
    with pytest.raises(ImderError, match="--transcribe: run reads no words; leave it out"):
        reader(transcribe=True)
    with pytest.raises(ImderError, match="--transcribe: run reads no words with --language none; leave it out"):
        reader(WORDS, language="none", transcribe=True)
    assert [*reader(WORDS, language="none", transcribe=False).recipe.dims] == ["vision", "audio"]


@pytest.mark.parametrize(("option", "given"), [("language", "none"), ("face_model", "gone"), ("transcribe", True)])
def test_options_of_a_run_without_a_recipe_are_named(option, given):
    with pytest.raises(ImderError, match=f"^--{option.replace('_', '-')}: run was trained on features .* without this"):
        MediaReader(None, "run", MediaOptions(**{option: given}))


def test_options_of_ignored_modalities_are_no_mistake():
    some = reader(SPEECH, audio_model="moved")
    assert some.recipe.audio.model == "moved"
    assert [*some.ignoring({"audio"}).recipe.dims] == ["vision"]
    assert [*some.recipe.dims] == ["vision", "audio"]
    spoken = reader(WORDS, transcribe=True, asr_model="gone")
    for names in ({"language"}, {"audio"}):  # neither is transcribed, so that no model is loaded
        assert spoken.ignoring(names).recipe_for([SPOKEN]).transcription is None
    assert [*spoken.ignoring({"audio"}).ignoring({"vision"}).recipe.dims] == ["language"]


def test_a_table_of_openface_for_a_run_that_reads_pictures(tmp_path):
    (tmp_path / "a.csv").touch()
    with pytest.raises(ImderError, match="openface: run reads pictures, no table of OpenFace; leave it out"):
        reader(SPEECH).clip(openface=tmp_path / "a.csv")
    assert reader().clip(openface=tmp_path / "a.csv").has["vision"]
